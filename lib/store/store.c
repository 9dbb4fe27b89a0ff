/* store.c: opening a store, listing and deleting. Publishing is publish.c, aliases are alias.c, clean.c tidies up. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/layout.h"
#include "util/clock.h"
#include "util/mem.h"

static const char format_word[] = "modelmq-store ";

static int
system_mkdirat(int dir, const char *name, mode_t mode)
{
	return mkdirat(dir, name, mode);
}

static const struct mmq_disk system_disk = { write, fsync, system_mkdirat, renameat, linkat, unlinkat };

/* The folder is empty, but for what a store's first start may have left. */
static bool
is_empty(int root)
{
	bool empty = true;
	int fd = mmq_layout_folder(root, ".");
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *entry;

	/* FORMAT may come up between the look for it and this one: another process starts at the same moment. */
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		empty = empty && (entry->d_name[0] == '.' || strcmp(entry->d_name, "FORMAT") == 0 || strcmp(entry->d_name, "tmp") == 0 || strcmp(entry->d_name, "models") == 0);
	if (dir != NULL)
		closedir(dir);
	return dir != NULL && empty;
}

static int
write_format(const struct mmq_store *store, struct mmq_err *err)
{
	char text[32], name[64];

	snprintf(text, sizeof(text), "%s%d\n", format_word, MMQ_STORE_FORMAT);
	snprintf(name, sizeof(name), ".FORMAT-%ld-%lld", (long)getpid(), (long long)mmq_clock_mono_us());
	int result = mmq_layout_write_file(store, store->root, name, text, strlen(text), err);
	/* Link, not rename: of two that start at once, one makes it and the other finds it. */
	if (result == 0 && store->disk.linkat(store->root, name, store->root, "FORMAT", 0) == -1 && errno != EEXIST)
		result = mmq_layout_fail(err, "link", "FORMAT");
	store->disk.unlinkat(store->root, name, 0);
	if (result == 0 && store->disk.fsync(store->root) == -1)
		result = mmq_layout_fail(err, "fsync", "the store's folder");
	return result;
}

static int
check_format(const struct mmq_store *store, bool create, struct mmq_err *err)
{
	struct stat info;

	if (fstatat(store->root, "FORMAT", &info, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno != ENOENT)
			return mmq_layout_fail(err, "look at", "FORMAT");
		if (!create || !is_empty(store->root))
			return mmq_err_set(err, is_empty(store->root) ? MMQ_NOT_FOUND : MMQ_FAILED_PRECONDITION,
			    "store: the folder holds no FORMAT file, so it is not a modelmq store");
		if (write_format(store, err) == -1)
			return -1;
	}
	/* A second link is there while a store is being made beside us: read without the check on links. */
	int fd = openat(store->root, "FORMAT", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	char bytes[64] = "";
	ssize_t got = fd == -1 ? -1 : read(fd, bytes, sizeof(bytes) - 1);
	if (fd != -1)
		close(fd);
	if (got == -1)
		return mmq_layout_fail(err, "read", "FORMAT");
	size_t prefix = strlen(format_word);
	char *end;
	unsigned long format = strncmp(bytes, format_word, prefix) == 0 ? strtoul(bytes + prefix, &end, 10) : 0;
	if (format == 0 || *end != '\n')
		return mmq_err_set(err, MMQ_DATA_LOSS, "store: FORMAT does not say 'modelmq-store <number>'");
	if (format != MMQ_STORE_FORMAT)
		return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "store: format %lu, this version reads %d", format, MMQ_STORE_FORMAT);
	return 0;
}

int
mmq_store_open(struct mmq_store **store_out, const char *path, bool create, const struct mmq_disk *disk, struct mmq_err *err)
{
	struct mmq_store *store = mmq_alloc(sizeof(*store));

	*store_out = NULL;
	*store = (struct mmq_store){ .root = -1, .tmp = -1, .disk = disk != NULL ? *disk : system_disk };
	if (create && mkdir(path, 0755) == -1 && errno != EEXIST) {
		mmq_layout_fail(err, "make folder", path);
		goto fail;
	}
	/* The store's own path may go through links: whoever starts the service chose it. */
	store->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->root == -1) {
		mmq_layout_fail(err, "open", path);
		goto fail;
	}
	if (check_format(store, create, err) == -1)
		goto fail;
	store->tmp = mmq_layout_make_folder(store, store->root, "tmp", err);
	if (store->tmp == -1)
		goto fail;
	*store_out = store;
	return 0;
fail:
	mmq_store_close(&store);
	return -1;
}

void
mmq_store_close(struct mmq_store **store)
{
	if (*store == NULL)
		return;
	if ((*store)->tmp != -1)
		close((*store)->tmp);
	if ((*store)->root != -1)
		close((*store)->root);
	free(*store);
	*store = NULL;
}

int
mmq_store_open_model(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, int *fd_out, struct mmq_err *err)
{
	char name[MMQ_LAYOUT_NUMBER_TEXT];
	int versions = mmq_layout_model(store, tenant, model, "versions", false, err);

	*fd_out = -1;
	if (versions == -1)
		return -1;
	mmq_layout_version(version, name);
	int folder = mmq_layout_folder(versions, name);
	if (folder == -1 && errno == ENOENT)
		mmq_err_set(err, MMQ_NOT_FOUND, "model '%s' has no version %u", model, version);
	else if (folder == -1)
		mmq_layout_fail(err, "open version", name);
	else
		*fd_out = mmq_layout_open_file(folder, "model.mmq", err);
	if (folder != -1)
		close(folder);
	close(versions);
	return *fd_out == -1 ? -1 : 0;
}

int
mmq_store_read_card(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, struct mmq_buf *card_out, struct mmq_err *err)
{
	char name[MMQ_LAYOUT_NUMBER_TEXT];
	int versions = mmq_layout_model(store, tenant, model, "versions", false, err), result = -1;

	if (versions == -1)
		return -1;
	mmq_layout_version(version, name);
	int folder = mmq_layout_folder(versions, name);
	close(versions);
	if (folder == -1)
		return mmq_err_set(err, MMQ_NOT_FOUND, "model '%s' has no version %u", model, version);
	result = mmq_layout_read_file(folder, "card.json", MMQ_STORE_CARD_BYTES_MAX, card_out, err);
	close(folder);
	return result;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return left < right ? -1 : left > right;
}

int
mmq_store_versions(struct mmq_store *store, const char *tenant, const char *model, uint32_t **versions_out, size_t *count_out, struct mmq_err *err)
{
	struct mmq_err why = { 0 };
	struct dirent *entry;
	size_t capacity = 0;

	*versions_out = NULL;
	*count_out = 0;
	int fd = mmq_layout_model(store, tenant, model, "versions", false, &why);
	if (fd == -1) {
		if (why.code == MMQ_NOT_FOUND)
			return 0;
		*err = why;
		return -1;
	}
	DIR *dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return mmq_layout_fail(err, "list versions of", model);
	}
	while ((entry = readdir(dir)) != NULL) {
		uint32_t version = mmq_layout_number(entry->d_name, "");
		if (version == 0)
			continue;
		if (*count_out == capacity) {
			capacity = capacity * 2 + 16;
			*versions_out = mmq_grow(*versions_out, capacity, sizeof(**versions_out));
		}
		(*versions_out)[(*count_out)++] = version;
	}
	closedir(dir);
	if (*count_out > 0)
		qsort(*versions_out, *count_out, sizeof(**versions_out), compare_numbers);
	return 0;
}

struct visitor {
	int (*visit)(void *arg, const char *tenant, const char *model, struct mmq_err *err);
	void *arg;
	const char *tenant;
};

static int
visit_model(void *arg, int dir, const char *name, struct mmq_err *err)
{
	struct visitor *visitor = arg;
	(void)dir;
	return mmq_name_is_valid(name, strlen(name)) ? visitor->visit(visitor->arg, visitor->tenant, name, err) : 0;
}

static int
visit_tenant(void *arg, int dir, const char *name, struct mmq_err *err)
{
	struct visitor *visitor = arg;
	int folder = mmq_name_is_valid(name, strlen(name)) ? mmq_layout_folder(dir, name) : -1;

	if (folder == -1)
		return 0;
	visitor->tenant = name;
	int result = mmq_layout_visit(folder, visit_model, visitor, err);
	close(folder);
	return result;
}

int
mmq_store_visit(struct mmq_store *store, int (*visit)(void *arg, const char *tenant, const char *model, struct mmq_err *err), void *arg,
    struct mmq_err *err)
{
	struct visitor visitor = { .visit = visit, .arg = arg };
	int models = mmq_layout_folder(store->root, "models");

	if (models == -1)
		return errno == ENOENT ? 0 : mmq_layout_fail(err, "open", "models");
	int result = mmq_layout_visit(models, visit_tenant, &visitor, err);
	close(models);
	return result;
}

/* Rename name in dir to its hidden name. The moment stands in the name: times of folders change when they are copied. */
static int
hide(const struct mmq_store *store, int dir, const char *name, struct mmq_err *err)
{
	char hidden[256];

	snprintf(hidden, sizeof(hidden), "%s%s-%lld", MMQ_LAYOUT_HIDDEN, name, (long long)mmq_clock_wall_ms());
	if (store->disk.renameat(dir, name, dir, hidden) == -1)
		return mmq_layout_fail(err, "hide", name);
	if (store->disk.fsync(dir) == -1)
		return mmq_layout_fail(err, "fsync the folder of", name);
	return 0;
}

static int
check_no_alias(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, struct mmq_err *err)
{
	struct mmq_store_aliases aliases;

	if (mmq_store_aliases(store, tenant, model, &aliases, err) == -1)
		return -1;
	for (size_t i = 0; i < aliases.count; i++)
		if (aliases.items[i].version == version)
			return mmq_err_set(err, MMQ_FAILED_PRECONDITION, "alias '%s' points to version %u of '%s': move it first", aliases.items[i].name,
			    version, model);
	return 0;
}

int
mmq_store_delete(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, struct mmq_err *err)
{
	char name[MMQ_LAYOUT_NUMBER_TEXT];
	int dir, result;

	if (version != 0 && check_no_alias(store, tenant, model, version, err) == -1)
		return -1;
	if (version == 0) {
		int folder = mmq_layout_model(store, tenant, model, NULL, false, err);
		if (folder == -1)
			return -1;
		dir = openat(folder, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(folder);
		if (dir == -1)
			return mmq_layout_fail(err, "open the folder of", model);
		result = hide(store, dir, model, err);
	} else {
		dir = mmq_layout_model(store, tenant, model, "versions", false, err);
		if (dir == -1)
			return -1;
		mmq_layout_version(version, name);
		result = hide(store, dir, name, err);
		if (result == -1 && err != NULL && err->code == MMQ_NOT_FOUND)
			mmq_err_set(err, MMQ_NOT_FOUND, "model '%s' has no version %u", model, version);
	}
	close(dir);
	return result;
}
