/* doctor.c: `modelmq doctor`: looks at a home from outside, changes nothing, and says what is well and what is not.
 *
 * Every byte of every published model is checked against its hashes. Every row of the journal is held against its
 * checksum, while the broker uses it if need be. Exit code 1 when something is wrong. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cblas.h>
#include <sodium.h>
#include <sqlite3.h>
#include <zlib.h>
#include <zmq.h>

#include "broker/journal_tool.h"
#include "cli/cli.h"
#include "math/cpu.h"
#include "model/container.h"
#include "store/store.h"

struct doctor {
	struct cli *cli;
	const char *home;
	struct mmq_store *store;
	struct mmq_buf json;      /* the list of findings, when --json */
	size_t findings, problems, versions;
};

enum mark { GOOD, NOTE, BAD };

static void __attribute__((format(printf, 4, 5)))
say(struct doctor *doctor, enum mark mark, const char *what, const char *format, ...)
{
	static const char *const words[] = { "ok", "note", "BAD" }, *const colours[] = { "\033[32m", "", "\033[31m" };
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	doctor->problems += mark == BAD;
	if (!doctor->cli->json) {
		printf("%s%-5s%s %-10s %s\n", cli_colour(doctor->cli, colours[mark]), words[mark], cli_colour(doctor->cli, "\033[0m"), what, text);
		return;
	}
	mmq_buf_printf(&doctor->json, "%s{\"state\":\"%s\",\"about\":\"%s\",\"message\":", doctor->findings++ > 0 ? ",\n" : "[",
	    mark == BAD ? "bad" : words[mark], what);
	cli_json_text(&doctor->json, text);
	mmq_buf_append(&doctor->json, "}", 1);
}

static void
check_libraries(struct doctor *doctor)
{
	int major, minor, patch;

	zmq_version(&major, &minor, &patch);
	say(doctor, major > 4 || (major == 4 && (minor > 3 || (minor == 3 && patch >= 3))) ? GOOD : BAD, "libraries",
	    "modelmq %s, libzmq %d.%d.%d (4.3.3 or later is needed), SQLite %s, libsodium %s, zlib %s", MMQ_VERSION, major, minor, patch,
	    sqlite3_libversion(), sodium_version_string(), zlibVersion());
	say(doctor, GOOD, "blas", "%s; kernel %s; processor path %s", openblas_get_config(), openblas_get_corename(), mmq_cpu_path());
}

/* false: there is nothing more to look at. */
static bool
check_home(struct doctor *doctor)
{
	struct stat st;

	if (stat(doctor->home, &st) == -1) {
		say(doctor, BAD, "home", "'%s': %s", doctor->home, strerror(errno));
		return false;
	}
	if (!S_ISDIR(st.st_mode))
		say(doctor, BAD, "home", "'%s' is not a folder", doctor->home);
	else if ((st.st_mode & 077) != 0)
		say(doctor, NOTE, "home", "'%s' is open to other users (mode %o); its sockets have no other lock", doctor->home, st.st_mode & 0777);
	else
		say(doctor, GOOD, "home", "'%s'", doctor->home);
	return S_ISDIR(st.st_mode);
}

static void
check_lock(struct doctor *doctor)
{
	char path[PATH_MAX], pid[32] = "";

	snprintf(path, sizeof(path), "%s/lock", doctor->home);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1) {
		say(doctor, NOTE, "lock", "no broker ran here yet (%s: %s)", path, strerror(errno));
		return;
	}
	bool is_free = flock(fd, LOCK_SH | LOCK_NB) == 0;
	ssize_t size = read(fd, pid, sizeof(pid) - 1);
	pid[size > 0 ? strcspn(pid, "\n") : 0] = '\0';
	close(fd);
	if (is_free)
		say(doctor, NOTE, "lock", "no broker runs here now");
	else
		say(doctor, GOOD, "lock", "held by the broker%s%s", *pid != '\0' ? ", process " : "", pid);
}

/* Ask the service how it is. */
static void
check_service(struct doctor *doctor)
{
	struct mmq_client_options options = { .home = doctor->home, .connect_ms = 1000 };
	struct mmq_client *client = mmq_client_open_with(&options);
	struct mmq_message *message = mmq_message_new("status");
	struct mmq_answer *answer = mmq_client_ask(client, &message, 5000);

	if (mmq_answer_is_ok(answer)) {
		const char *health = mmq_answer_text(answer, "health"), *version = mmq_answer_text(answer, "version");
		bool is_well = health != NULL && strcmp(health, "ready") == 0;
		say(doctor, is_well ? GOOD : BAD, "service", "%s is %s, %zu workers, at %s", version != NULL ? version : "it",
		    health != NULL ? health : "of unknown health", mmq_answer_count(answer, "workers"), mmq_client_endpoint(client, "request"));
		if (version != NULL && strcmp(version, MMQ_VERSION) != 0)
			say(doctor, NOTE, "version", "the service is %s, this program is %s", version, MMQ_VERSION);
	} else {
		say(doctor, NOTE, "service", "does not answer: %s", mmq_answer_why(answer));
	}
	mmq_answer_destroy(&answer);
	mmq_client_close(&client);
}

static int
check_model(void *arg, const char *tenant, const char *model, struct mmq_err *err)
{
	struct doctor *doctor = arg;
	struct mmq_container *container = NULL;
	struct mmq_store_aliases aliases;
	uint32_t *versions = NULL;
	size_t count = 0;
	int fd;

	if (mmq_store_versions(doctor->store, tenant, model, &versions, &count, err) == -1 ||
	    mmq_store_aliases(doctor->store, tenant, model, &aliases, err) == -1) {
		say(doctor, BAD, "model", "%s/%s: %s", tenant, model, err->message);
		free(versions);
		return 0;
	}
	for (size_t i = 0; i < count; i++, doctor->versions++) {
		bool is_open = mmq_store_open_model(doctor->store, tenant, model, versions[i], &fd, err) == 0;
		if (!is_open || mmq_container_open(&container, fd, true, err) == -1)
			say(doctor, BAD, "model", "%s/%s version %u: %s", tenant, model, versions[i], err->message);
		mmq_container_close(&container);
		if (is_open)
			close(fd);
	}
	for (size_t i = 0; i < aliases.count; i++) {
		bool is_there = false;
		for (size_t k = 0; k < count; k++)
			is_there = is_there || versions[k] == aliases.items[i].version;
		if (!is_there)
			say(doctor, BAD, "alias", "%s/%s: %s points to version %u, which is not there", tenant, model, aliases.items[i].name,
			    aliases.items[i].version);
	}
	free(versions);
	return 0;
}

static void
check_store(struct doctor *doctor)
{
	char path[PATH_MAX];
	struct mmq_err err;
	size_t problems = doctor->problems;

	snprintf(path, sizeof(path), "%s/store", doctor->home);
	if (access(path, F_OK) == -1) {
		say(doctor, NOTE, "store", "'%s' is not there yet", path);
		return;
	}
	if (mmq_store_open(&doctor->store, path, false, NULL, &err) == -1) {
		say(doctor, BAD, "store", "%s", err.message);
		return;
	}
	if (mmq_store_visit(doctor->store, check_model, doctor, &err) == -1)
		say(doctor, BAD, "store", "%s", err.message);
	if (problems == doctor->problems)
		say(doctor, GOOD, "store", "format %d, %zu versions verified", MMQ_STORE_FORMAT, doctor->versions);
	mmq_store_close(&doctor->store);
}

static void
check_journal(struct doctor *doctor)
{
	struct mmq_journal_check found;
	char path[PATH_MAX];
	struct mmq_err err;

	snprintf(path, sizeof(path), "%s/journal.db", doctor->home);
	if (access(path, F_OK) == -1)
		say(doctor, NOTE, "journal", "'%s' is not there yet", path);
	else if (mmq_journal_check(path, &found, &err) == -1)
		say(doctor, BAD, "journal", "%s", err.message);
	else
		say(doctor, found.damaged == 0 ? GOOD : BAD, "journal", "format %d, %llu requests, %llu without an outcome, %llu dead letters; every checksum read%s%s",
		    found.format, (unsigned long long)found.requests, (unsigned long long)found.open, (unsigned long long)found.dead,
		    found.damaged == 0 ? ": all are right" : ", some are wrong; first: ", found.first);
}

int
cli_doctor(struct cli *cli, const struct cli_command *command, int argc, char **argv)
{
	const struct cli_option options[] = { { NULL, NULL, CLI_FLAG, NULL, NULL } };
	struct doctor doctor = { .cli = cli };
	int result = CLI_USAGE;

	if (!cli_parse(cli, command, options, argc, argv, NULL, 0, 0, &result))
		return result;
	doctor.home = cli_home(cli);
	mmq_buf_init(&doctor.json, 1 << 24);
	check_libraries(&doctor);
	if (check_home(&doctor)) {
		check_lock(&doctor);
		check_service(&doctor);
		check_store(&doctor);
		check_journal(&doctor);
	}
	if (cli->json)
		printf("%s]\n", mmq_buf_text(&doctor.json));
	else
		printf(doctor.problems == 0 ? "no problems found\n" : "%zu problems found\n", doctor.problems);
	mmq_buf_fini(&doctor.json);
	return doctor.problems == 0 ? CLI_OK : CLI_ERROR;
}
