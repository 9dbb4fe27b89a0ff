/* keygen.c: `modelmq keygen NAME`: a key pair for a client, a worker or a subscriber. The broker makes its own. */
#include <string.h>

#include "cli/cli.h"
#include "cli/keys.h"
#include "util/name.h"

static bool
is_role(const char *role)
{
	const char *const roles[] = { "client", "worker", "subscriber", "admin" };

	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(roles[i], role) == 0)
			return true;
	return false;
}

int
cli_keygen(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const char *folder = ".", *keys = NULL, *role = "client", *tenant = "default", *name;
	char allow[4096];
	const struct cli_option options[] = {
		{ "role", "ROLE", CLI_TEXT, &role, "client (default), worker, subscriber or admin" },
		{ "tenant", "NAME", CLI_TEXT, &tenant, "whose models and jobs the key sees; default: default" },
		{ "dir", "DIR", CLI_TEXT, &folder, "where to write; default: here" },
		{ "keys", "DIR", CLI_TEXT, &keys, "the broker's folder of keys: allow the new key there at once" },
		{ NULL, NULL, CLI_FLAG, NULL, NULL },
	};
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, &name, 1, 1, &result))
		return result;
	if (!mmq_name_is_valid(name, strlen(name)) || !mmq_name_is_valid(tenant, strlen(tenant)))
		return cli_usage(command, "names are [a-z0-9][a-z0-9._-]{0,63}");
	if (!is_role(role))
		return cli_usage(command, "--role is client, worker, subscriber or admin, got '%s'", role);
	snprintf(allow, sizeof(allow), "%s/allow", keys != NULL ? keys : "");
	result = keys_make(folder, keys != NULL ? allow : NULL, name, role, tenant);
	if (result == CLI_OK && keys == NULL)
		printf("%s/%s_secret is for its owner; put %s/%s into the folder `allow` of the broker's --keys folder\n", folder, name, folder, name);
	else if (result == CLI_OK)
		printf("%s/%s_secret is for its owner; the key is allowed in %s\n", folder, name, allow);
	return result;
}
