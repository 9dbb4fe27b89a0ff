/* alias.c: which version a name like `production` means. Each change is a whole new file, made visible by link(2), which
 * fails when the generation is taken; the highest one holds, so that a paused process cannot roll a newer one back. */
#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/clock.h"

enum { ALIAS_BYTES_MAX = 1 << 20 };

static uint32_t
highest_generation(int dir)
{
	uint32_t highest = 0;
	struct dirent *entry;
	int fd = mmq_layout_folder(dir, ".");
	DIR *stream = fd == -1 ? NULL : fdopendir(fd);

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		uint32_t number = mmq_layout_number(entry->d_name, ".json");
		highest = number > highest ? number : highest;
	}
	if (stream != NULL)
		closedir(stream);
	return highest;
}

static int
parse(const char *bytes, size_t size, struct mmq_store_aliases *out, struct mmq_err *err)
{
	json_error_t why;
	const char *name;
	json_t *value, *root = json_loadb(bytes, size, 0, &why);

	if (!json_is_object(root)) {
		json_decref(root);
		return mmq_err_set(err, MMQ_DATA_LOSS, "store: aliases of generation %u are not readable: %s", out->generation, why.text);
	}
	json_object_foreach(root, name, value) {
		json_int_t version = json_integer_value(json_object_get(value, "version"));
		const char *since = json_string_value(json_object_get(value, "since")), *by = json_string_value(json_object_get(value, "by"));
		if (!mmq_name_is_valid(name, strlen(name)) || version < 1 || version > MMQ_STORE_VERSION_MAX || out->count == MMQ_STORE_ALIASES_MAX)
			continue;
		struct mmq_store_alias *alias = &out->items[out->count++];
		*alias = (struct mmq_store_alias){ .version = (uint32_t)version };
		snprintf(alias->name, sizeof(alias->name), "%s", name);
		snprintf(alias->since, sizeof(alias->since), "%s", since != NULL ? since : "");
		snprintf(alias->by, sizeof(alias->by), "%s", by != NULL ? by : "");
	}
	json_decref(root);
	return 0;
}

/* Aliases of one generation; dir is the model's aliases folder. */
static int
read_generation(int dir, uint32_t generation, struct mmq_store_aliases *out, struct mmq_err *err)
{
	char name[32];
	struct mmq_buf text;
	int fd, result = -1;

	*out = (struct mmq_store_aliases){ .generation = generation };
	if (generation == 0)
		return 0;
	snprintf(name, sizeof(name), "%06u.json", generation);
	mmq_buf_init(&text, ALIAS_BYTES_MAX);
	/* Not through mmq_layout_open_file: between its link and the unlink of its temporary name it has two links. */
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	uint8_t *bytes = mmq_buf_extend(&text, ALIAS_BYTES_MAX);
	ssize_t got = fd == -1 ? -1 : read(fd, bytes, ALIAS_BYTES_MAX);
	if (got == -1)
		mmq_layout_fail(err, "read aliases", name);
	else
		result = parse((const char *)bytes, (size_t)got, out, err);
	if (fd != -1)
		close(fd);
	mmq_buf_fini(&text);
	return result;
}

int
mmq_store_aliases(struct mmq_store *store, const char *tenant, const char *model, struct mmq_store_aliases *out, struct mmq_err *err)
{
	struct mmq_err why = { 0 };
	int dir = mmq_layout_model(store, tenant, model, "aliases", false, &why);

	*out = (struct mmq_store_aliases){ 0 };
	if (dir == -1 && why.code == MMQ_NOT_FOUND)
		return 0;
	if (dir == -1) {
		*err = why;
		return -1;
	}
	int result = read_generation(dir, highest_generation(dir), out, err);
	close(dir);
	return result;
}

static struct mmq_store_alias *
find(struct mmq_store_aliases *aliases, const char *name)
{
	for (size_t i = 0; i < aliases->count; i++)
		if (strcmp(aliases->items[i].name, name) == 0)
			return &aliases->items[i];
	return NULL;
}

static int
apply(struct mmq_store_aliases *aliases, const struct mmq_alias_change *change, struct mmq_err *err)
{
	struct mmq_store_alias *alias = find(aliases, change->name);

	if (change->version == 0) {
		if (alias == NULL)
			return mmq_err_set(err, MMQ_NOT_FOUND, "model '%s' has no alias '%s'", change->model, change->name);
		*alias = aliases->items[--aliases->count];
		return 0;
	}
	if (alias == NULL) {
		if (aliases->count == MMQ_STORE_ALIASES_MAX)
			return mmq_err_set(err, MMQ_RESOURCE_EXHAUSTED, "model '%s' has %d aliases already", change->model, MMQ_STORE_ALIASES_MAX);
		alias = &aliases->items[aliases->count++];
		*alias = (struct mmq_store_alias){ 0 };
		snprintf(alias->name, sizeof(alias->name), "%s", change->name);
	}
	alias->version = change->version;
	mmq_clock_format(mmq_clock_wall_ms(), alias->since);
	snprintf(alias->by, sizeof(alias->by), "%s", change->by != NULL ? change->by : "");
	return 0;
}

/* The file's text; the caller frees it. */
static char *
encode(const struct mmq_store_aliases *aliases)
{
	json_t *root = json_object();
	for (size_t i = 0; i < aliases->count; i++) {
		const struct mmq_store_alias *alias = &aliases->items[i];
		json_object_set_new(root, alias->name, json_pack("{s:i, s:s, s:s, s:[]}", "version", (int)alias->version, "since", alias->since, "by",
		    alias->by, "routes"));
	}
	char *text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
	json_decref(root);
	return text;
}

/* Write under a name of this change's own in tmp, then link it to its generation. */
static int
put_generation(const struct mmq_store *store, int dir, uint32_t generation, const char *text, struct mmq_err *err)
{
	char name[32], staged[96];
	int result = -1;

	snprintf(name, sizeof(name), "%06u.json", generation);
	snprintf(staged, sizeof(staged), "alias-%ld-%lld", (long)getpid(), (long long)mmq_clock_mono_us());
	if (mmq_layout_write_file(store, store->tmp, staged, text, strlen(text), err) == -1)
		goto out;
	if (store->disk.linkat(store->tmp, staged, dir, name, 0) == -1) {
		if (errno == EEXIST)
			mmq_err_set(err, MMQ_ALREADY_EXISTS, "store: alias generation %u is taken", generation);
		else
			mmq_layout_fail(err, "link aliases", name);
		goto out;
	}
	result = store->disk.fsync(dir) == 0 ? 0 : mmq_layout_fail(err, "fsync the folder of", name);
out:
	store->disk.unlinkat(store->tmp, staged, 0);
	return result;
}

static bool
says_the_same(struct mmq_store_aliases *aliases, const struct mmq_alias_change *change)
{
	const struct mmq_store_alias *alias = find(aliases, change->name);
	return change->version == 0 ? alias == NULL : alias != NULL && alias->version == change->version &&
	    (change->by == NULL || strncmp(alias->by, change->by, sizeof(alias->by) - 1) == 0);
}

static int
change_in(struct mmq_store *store, const struct mmq_alias_change *change, int dir, struct mmq_err *err)
{
	struct mmq_store_aliases aliases;
	uint32_t highest = highest_generation(dir);

	/* Done before by an attempt whose answer was lost: that generation stands and says just this. */
	if (highest >= change->generation && read_generation(dir, change->generation, &aliases, NULL) == 0 && says_the_same(&aliases, change))
		return store->disk.fsync(dir) == 0 ? 0 : mmq_layout_fail(err, "fsync", "aliases");
	if (change->expect >= 0 && highest != change->expect) {
		char want[32];
		snprintf(want, sizeof(want), "%u", highest);
		return mmq_err_value(err, MMQ_ALREADY_EXISTS, "expect", want, "%lld", (long long)change->expect);
	}
	if (change->generation <= highest)
		return mmq_err_set(err, MMQ_ALREADY_EXISTS, "store: alias generation %u is not above %u", change->generation, highest);
	if (read_generation(dir, highest, &aliases, err) == -1 || apply(&aliases, change, err) == -1)
		return -1;
	char *text = encode(&aliases);
	int result = put_generation(store, dir, change->generation, text, err);
	free(text);
	return result;
}

int
mmq_store_set_alias(struct mmq_store *store, const struct mmq_alias_change *change, struct mmq_err *err)
{
	int fd, dir, result;

	if (mmq_layout_check_name("alias", change->name, err) == -1)
		return -1;
	/* A name made of digits alone would be read as a version. */
	if (strspn(change->name, "0123456789") == strlen(change->name))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "alias", "a name that is not a number", "'%s'", change->name);
	if (change->version != 0) {
		if (mmq_store_open_model(store, change->tenant, change->model, change->version, &fd, err) == -1)
			return -1;
		close(fd);
	}
	dir = mmq_layout_model(store, change->tenant, change->model, "aliases", change->version != 0, err);
	if (dir == -1)
		return -1;
	result = change_in(store, change, dir, err);
	close(dir);
	return result;
}

uint32_t
mmq_store_alias_version(const struct mmq_store_aliases *aliases, const char *name)
{
	for (size_t i = 0; i < aliases->count; i++)
		if (strcmp(aliases->items[i].name, name) == 0)
			return aliases->items[i].version;
	return 0;
}
