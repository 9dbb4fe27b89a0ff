/* shell_home.c: lock, folder and endpoints of one broker. See shell_home.h. */
#include "broker/shell_home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "util/mem.h"

enum { UNIX_PATH_MAX = 107, PATH_MAX_HERE = 4096 };

static const char *const names[SHELL_SOCKETS] = { "request", "publish", "sink", "work" };

const char *
mmq_shell_socket_name(enum shell_socket socket)
{
	return names[socket];
}

bool
mmq_shell_is_local(const char *endpoint)
{
	static const char *const local[] = { "ipc://", "tcp://127.", "tcp://localhost:", "tcp://[::1]:" };

	for (size_t i = 0; i < sizeof local / sizeof *local; i++)
		if (strncmp(endpoint, local[i], strlen(local[i])) == 0)
			return true;
	return false;
}

/* Locks and SQLite's shared memory do not hold over a network. */
static int
disk_check(const char *path, struct mmq_err *err)
{
	static const struct { unsigned long magic; const char *name; } remote[] = {
		{ 0x6969, "NFS" }, { 0xff534d42, "CIFS" }, { 0xfe534d42, "SMB" }, { 0x5346414f, "AFS" }, { 0x00c36400, "Ceph" },
	};
	struct statfs fs;

	if (statfs(path, &fs) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home '%s': %s", path, strerror(errno));
	for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
		if ((unsigned long)fs.f_type == remote[i].magic)
			return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "home '%s' is on %s; the journal needs a local disk", path, remote[i].name);
	return 0;
}

static int
lock_take(struct shell_home *home, struct mmq_err *err)
{
	char path[PATH_MAX_HERE];

	snprintf(path, sizeof path, "%s/lock", home->path);
	home->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (home->lock_fd == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home: cannot open '%s': %s", path, strerror(errno));
	if (flock(home->lock_fd, LOCK_EX | LOCK_NB) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home '%s' is in use by another broker", home->path);
	if (ftruncate(home->lock_fd, 0) == 0)
		dprintf(home->lock_fd, "%d\n", (int)getpid());
	return 0;
}

static void
endpoints_read(struct shell_home *home)
{
	char path[PATH_MAX_HERE], line[1024];
	FILE *file;

	snprintf(path, sizeof path, "%s/endpoints", home->path);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof line, file) != NULL) {
		char *equals = strchr(line, '=');

		line[strcspn(line, "\r\n")] = 0;
		if (equals == NULL)
			continue;
		*equals = 0;
		for (int i = 0; i < SHELL_SOCKETS; i++)
			if (strcmp(line, names[i]) == 0 && home->recorded[i] == NULL)
				home->recorded[i] = mmq_strdup(equals + 1);
	}
	if (file != NULL)
		fclose(file);
}

static bool
folder_is_ours(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/* The folder of the ipc sockets: HOME/run, or a short one recorded in HOME/runtime if a socket's path would be too long. */
static int
run_folder(struct shell_home *home, char *folder_out, size_t size, struct mmq_err *err)
{
	char record[PATH_MAX_HERE], text[256] = "";
	const char *base = getenv("XDG_RUNTIME_DIR");
	FILE *file;

	snprintf(folder_out, size, "%s/run", home->path);
	if (strlen(folder_out) + sizeof "/request" <= UNIX_PATH_MAX) {
		if (mkdir(folder_out, 0700) == -1 && errno != EEXIST)
			return mmq_err_set(err, MMQ_UNAVAILABLE, "home: cannot create '%s': %s", folder_out, strerror(errno));
		return folder_is_ours(folder_out) ? 0 : mmq_err_set(err, MMQ_INVALID_ARGUMENT,
		    "home: '%s' must be a folder of this user with mode 0700", folder_out);
	}
	snprintf(record, sizeof record, "%s/runtime", home->path);
	file = fopen(record, "re");
	if (file != NULL) {
		if (fgets(text, sizeof text, file) != NULL)
			text[strcspn(text, "\n")] = 0;
		fclose(file);
	}
	if (text[0] != 0 && folder_is_ours(text)) {
		snprintf(folder_out, size, "%s", text);
		return 0;
	}
	if (base == NULL || strlen(base) > 64)
		base = "/tmp";
	snprintf(folder_out, size, "%s/modelmq-XXXXXX", base);
	if (mkdtemp(folder_out) == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home: cannot create a runtime folder in '%s': %s", base, strerror(errno));
	file = fopen(record, "we");
	if (file == NULL || fprintf(file, "%s\n", folder_out) < 0 || fclose(file) != 0)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home: cannot write '%s': %s", record, strerror(errno));
	return 0;
}

static bool
port_is_open(const char *endpoint)
{
	const char *colon = strrchr(endpoint, ':');

	return strncmp(endpoint, "tcp://", 6) == 0 && colon != NULL && (strcmp(colon, ":*") == 0 || strcmp(colon, ":0") == 0);
}

/* What to bind for one socket: as given, with a port chosen earlier if the given one is open. */
static int
endpoint_choose(struct shell_home *home, int i, const char *given, const char *folder, bool curve, struct mmq_err *err)
{
	const char *recorded = home->recorded[i];
	char text[PATH_MAX_HERE + 32];

	if (given == NULL) {
		snprintf(text, sizeof text, "ipc://%s/%s", folder, names[i]);
		given = text;
	}
	if (strncmp(given, "ipc://", 6) != 0 && strncmp(given, "tcp://", 6) != 0)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, names[i], "ipc://PATH or tcp://HOST:PORT", "'%s'", given);
	if (strncmp(given, "ipc://", 6) == 0 && strlen(given + 6) > UNIX_PATH_MAX)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, names[i], "a socket path of at most 107 bytes", "%zu bytes", strlen(given + 6));
	if (!mmq_shell_is_local(given) && !curve)
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, names[i], "ipc or a loopback address, or --keys for encryption", "'%s'", given);
	if (port_is_open(given) && recorded != NULL) {
		size_t host = (size_t)(strrchr(given, ':') - given) + 1;

		if (strncmp(given, recorded, host) == 0 && strspn(recorded + host, "0123456789") == strlen(recorded + host))
			given = recorded;
	}
	if (port_is_open(given) && strcmp(strrchr(given, ':'), ":0") == 0) {
		snprintf(text, sizeof text, "%.*s*", (int)(strlen(given) - 1), given);
		given = text;
	}
	home->endpoint[i] = mmq_strdup(given);
	return 0;
}

int
mmq_shell_home_open(struct shell_home *home, const char *path, char *const given[SHELL_SOCKETS], bool curve, struct mmq_err *err)
{
	char folder[PATH_MAX_HERE], *absolute;

	*home = (struct shell_home){ .lock_fd = -1 };
	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "home: cannot create '%s': %s", path, strerror(errno));
	absolute = realpath(path, NULL);
	if (absolute == NULL || strlen(absolute) > PATH_MAX_HERE - 64) {
		free(absolute);
		return mmq_err_set(err, MMQ_INVALID_ARGUMENT, "home '%s': %s", path, strerror(errno));
	}
	home->path = absolute;
	if (disk_check(home->path, err) == -1 || lock_take(home, err) == -1 || run_folder(home, folder, sizeof folder, err) == -1)
		return -1;
	endpoints_read(home);
	for (int i = 0; i < SHELL_SOCKETS; i++)
		if (endpoint_choose(home, i, given[i], folder, curve, err) == -1)
			return -1;
	return 0;
}

int
mmq_shell_home_write(struct shell_home *home, struct mmq_err *err)
{
	char path[PATH_MAX_HERE], temporary[PATH_MAX_HERE];
	FILE *file;
	bool good;

	snprintf(path, sizeof path, "%s/endpoints", home->path);
	snprintf(temporary, sizeof temporary, "%s/endpoints.new", home->path);
	file = fopen(temporary, "we");
	if (file == NULL)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home: cannot write '%s': %s", temporary, strerror(errno));
	for (int i = 0; i < SHELL_SOCKETS; i++)
		fprintf(file, "%s=%s\n", names[i], home->endpoint[i]);
	good = fflush(file) == 0 && fsync(fileno(file)) == 0;
	good = fclose(file) == 0 && good;
	if (!good || rename(temporary, path) == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "home: cannot write '%s': %s", path, strerror(errno));
	return 0;
}

void
mmq_shell_home_close(struct shell_home *home)
{
	for (int i = 0; i < SHELL_SOCKETS; i++) {
		free(home->endpoint[i]);
		free(home->recorded[i]);
		home->endpoint[i] = home->recorded[i] = NULL;
	}
	if (home->lock_fd != -1)
		close(home->lock_fd);
	home->lock_fd = -1;
	free(home->path);
	home->path = NULL;
}
