/* keys.c: makes CURVE key pairs in the layout of ZeroMQ certificates: NAME is public, NAME_secret is for its owner alone. */
#include "cli/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zmq.h>

#include "cli/cli.h"

/* A new file with these bytes; never over an old one. 0, or -1 with errno. */
static int
write_new(const char *path, mode_t mode, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	size_t length = strlen(text);

	if (fd == -1)
		return -1;
	bool is_written = write(fd, text, length) == (ssize_t)length && fsync(fd) == 0;
	return close(fd) == 0 && is_written ? 0 : -1;
}

int
keys_make(const char *folder, const char *allow_folder, const char *name, const char *role, const char *tenant)
{
	char public_key[41], secret_key[41], path[4096], text[1024];

	if (zmq_curve_keypair(public_key, secret_key) == -1)
		return cli_say(CLI_ERROR, "this libzmq has no CURVE: %s", zmq_strerror(zmq_errno()));
	for (int which = 0; which < 3; which++) {
		const char *where = which == 2 ? allow_folder : folder;
		int used;
		if (where == NULL)
			continue;
		used = snprintf(text, sizeof(text), "#   %s key of modelmq\nmetadata\n    role = \"%s\"\n    tenant = \"%s\"\ncurve\n    public-key = \"%s\"\n",
		    which == 0 ? "Secret" : "Public", role, tenant, public_key);
		if (which == 0)
			snprintf(text + used, sizeof(text) - (size_t)used, "    secret-key = \"%s\"\n", secret_key);
		snprintf(path, sizeof(path), "%s/%s%s", where, name, which == 0 ? "_secret" : "");
		if (write_new(path, which == 0 ? 0600 : 0644, text) == -1)
			return cli_say(CLI_ERROR, "'%s': %s", path, strerror(errno));
	}
	return CLI_OK;
}
