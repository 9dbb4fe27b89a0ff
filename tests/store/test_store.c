/* test_store.c: whatever call fails and wherever the process dies, a version is complete or absent and what was acknowledged is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/store.h"

/* ---- A disk that fails or dies at its Nth change ---- */

enum mode { SOUND, FAIL, FULL, KILL_BEFORE, KILL_AFTER };
static struct { enum mode mode; int at, calls; } fault;

/* True: this call is the one that is to fail. */
static bool
strikes(void)
{
	if (++fault.calls != fault.at || fault.mode == SOUND || fault.mode == KILL_AFTER)
		return false;
	if (fault.mode == KILL_BEFORE)
		_exit(9);
	errno = fault.mode == FULL ? ENOSPC : EIO;
	return true;
}

static int
after(int result)
{
	if (fault.mode == KILL_AFTER && fault.calls == fault.at)
		_exit(9);
	return result;
}

static ssize_t
bad_write(int fd, const void *bytes, size_t size)
{
	if (strikes())
		return -1;
	if (fault.mode == KILL_AFTER && fault.calls == fault.at)
		size /= 2;  /* torn */
	ssize_t wrote = write(fd, bytes, size);
	return after((int)wrote);
}

static int bad_fsync(int fd) { return strikes() ? -1 : after(fsync(fd)); }
static int bad_mkdirat(int dir, const char *name, mode_t mode) { return strikes() ? -1 : after(mkdirat(dir, name, mode)); }
static int bad_renameat(int from_dir, const char *from, int to_dir, const char *to) { return strikes() ? -1 : after(renameat(from_dir, from, to_dir, to)); }
static int bad_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) { return strikes() ? -1 : after(linkat(from_dir, from, to_dir, to, flags)); }
static int bad_unlinkat(int dir, const char *name, int flags) { return strikes() ? -1 : after(unlinkat(dir, name, flags)); }

static const struct mmq_disk bad_disk = { bad_write, bad_fsync, bad_mkdirat, bad_renameat, bad_linkat, bad_unlinkat };

/* ---- A store in a fresh folder ---- */

static char folder[64];

static int
fresh_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/mmq-store-XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
	char command[128];
	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) == 0 ? 0 : -1;
}

static struct mmq_store *
open_store(void)
{
	struct mmq_store *store;
	struct mmq_err err = { 0 };
	if (mmq_store_open(&store, folder, true, NULL, &err) == -1)
		fail_msg("%s", err.message);
	return store;
}

static int
write_content(void *arg, int fd, struct mmq_err *err)
{
	const char *content = arg;
	if (bad_write(fd, content, strlen(content)) == (ssize_t)strlen(content))
		return 0;
	return mmq_err_set(err, errno == ENOSPC ? MMQ_RESOURCE_EXHAUSTED : MMQ_UNAVAILABLE, "write: %s", strerror(errno));
}

static int
publish(struct mmq_store *store, uint32_t version, const char *job, uint64_t fence, bool *was_there, struct mmq_err *err)
{
	char card[128], content[64];
	snprintf(card, sizeof(card), "{\"job\": \"%s\", \"version\": %u}", job, version);
	snprintf(content, sizeof(content), "model bytes of version %u", version);
	const struct mmq_publish what = { .tenant = "default", .model = "iris", .job = job, .fence = fence, .version = version,
		.write_model = write_content, .arg = content, .card = card, .card_bytes = strlen(card) };
	return mmq_store_publish(store, &what, was_there, err);
}

static int
set_alias(struct mmq_store *store, uint32_t version, uint32_t generation, int64_t expect, struct mmq_err *err)
{
	const struct mmq_alias_change change = { .tenant = "default", .model = "iris", .name = "production", .version = version, .by = "me",
		.expect = expect, .generation = generation };
	return mmq_store_set_alias(store, &change, err);
}

static void
assert_content(struct mmq_store *store, uint32_t version)
{
	char want[64], got[64] = "";
	struct mmq_err err;
	int fd;
	struct mmq_buf card;

	snprintf(want, sizeof(want), "model bytes of version %u", version);
	assert_int_equal(mmq_store_open_model(store, "default", "iris", version, &fd, &err), 0);
	assert_true(read(fd, got, sizeof(got) - 1) > 0);
	close(fd);
	assert_string_equal(got, want);
	mmq_buf_init(&card, 1024);
	assert_int_equal(mmq_store_read_card(store, "default", "iris", version, &card, &err), 0);
	assert_non_null(strstr(mmq_buf_text(&card), "\"job\""));
	mmq_buf_fini(&card);
}

static uint32_t
production(struct mmq_store *store)
{
	struct mmq_store_aliases aliases;
	struct mmq_err err;
	assert_int_equal(mmq_store_aliases(store, "default", "iris", &aliases, &err), 0);
	return aliases.count == 0 ? 0 : aliases.items[0].version;
}

/* ---- Laws ---- */

/* What a process got acknowledged before it died; in memory shared with it. */
struct acknowledged { uint32_t version, alias, checkpoint; bool finished; };

static void
work(struct acknowledged *ack)
{
	struct mmq_store *store;
	struct mmq_err err;
	bool was_there;

	if (mmq_store_open(&store, folder, true, &bad_disk, &err) == -1)
		return;
	for (uint32_t version = 1; version <= 2; version++) {
		char content[64];
		snprintf(content, sizeof(content), "checkpoint %u", version);
		if (mmq_store_write_checkpoint(store, "default", "job-c", write_content, content, &err) == 0)
			ack->checkpoint = version;
		else
			break;
		if (publish(store, version, version == 1 ? "job-a" : "job-b", 7, &was_there, &err) == 0)
			ack->version = version;
		else
			break;
		if (set_alias(store, version, version, -1, &err) == 0)
			ack->alias = version;
		else
			break;
	}
	ack->finished = true;
	mmq_store_close(&store);
}

/* The last one that was acknowledged or a later one, whole. */
static void
assert_checkpoint(struct mmq_store *store, uint32_t acknowledged)
{
	char got[64] = "";
	struct mmq_err err;
	int fd;

	if (mmq_store_open_checkpoint(store, "default", "job-c", &fd, &err) == -1) {
		assert_int_equal(err.code, MMQ_NOT_FOUND);
		assert_int_equal(acknowledged, 0);
		return;
	}
	assert_true(read(fd, got, sizeof(got) - 1) > 0);
	close(fd);
	assert_true(strcmp(got, "checkpoint 2") == 0 || (strcmp(got, "checkpoint 1") == 0 && acknowledged < 2));
}

static void
assert_store_is_sound(const struct acknowledged *ack)
{
	struct mmq_store *store = open_store();
	struct mmq_err err;
	uint32_t *versions;
	size_t count;
	bool was_there;
	char command[256];

	assert_checkpoint(store, ack->checkpoint);
	assert_int_equal(mmq_store_clean(store, 0, &err), 0);
	snprintf(command, sizeof(command), "test -z \"$(ls -A %s/tmp)\"", folder);
	assert_int_equal(system(command), 0);
	assert_int_equal(mmq_store_versions(store, "default", "iris", &versions, &count, &err), 0);
	for (size_t i = 0; i < count; i++)
		assert_content(store, versions[i]);
	assert_true(count >= ack->version);
	free(versions);
	assert_true(production(store) >= ack->alias && production(store) <= count);
	/* The next attempts of the same jobs succeed, whatever the first ones left. */
	assert_int_equal(publish(store, 1, "job-a", 8, &was_there, &err), 0);
	assert_true(was_there || ack->version < 1);
	assert_int_equal(publish(store, 2, "job-b", 8, &was_there, &err), 0);
	assert_true(was_there || ack->version < 2);
	assert_content(store, 1);
	assert_content(store, 2);
	mmq_store_close(&store);
}

/* Every N until the work runs through undisturbed. */
static void
every_fault(enum mode mode)
{
	struct acknowledged *ack = mmap(NULL, sizeof(*ack), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool reached = true;

	for (int at = 1; reached; at++) {
		*ack = (struct acknowledged){ 0 };
		fresh_folder(NULL);
		pid_t child = fork();
		if (child == 0) {
			fault.mode = mode;
			fault.at = at;
			fault.calls = 0;
			work(ack);
			_exit(fault.calls < at ? 0 : 1);
		}
		int status;
		waitpid(child, &status, 0);
		assert_true(WIFEXITED(status));
		reached = WEXITSTATUS(status) != 0;
		fault.mode = SOUND;
		assert_store_is_sound(ack);
		if (!reached)
			assert_true(ack->finished && ack->version == 2 && ack->alias == 2 && at > 20);
		remove_folder(NULL);
	}
	munmap(ack, sizeof(*ack));
}

static void test_survives_each_failed_call(void **state) { (void)state; every_fault(FAIL); }
static void test_survives_a_full_disk_at_each_call(void **state) { (void)state; every_fault(FULL); }
static void test_survives_a_kill_before_each_call(void **state) { (void)state; every_fault(KILL_BEFORE); }
static void test_survives_a_kill_after_each_call(void **state) { (void)state; every_fault(KILL_AFTER); }

static void
test_full_disk_is_resource_exhausted_and_old_version_serves(void **state)
{
	struct mmq_store *store = open_store(), *full;
	struct mmq_err err;
	bool was_there;

	(void)state;
	assert_int_equal(publish(store, 1, "job-a", 1, &was_there, &err), 0);
	assert_int_equal(mmq_store_open(&full, folder, false, &bad_disk, &err), 0);
	fault.mode = FULL;
	fault.calls = 0;
	fault.at = 2;  /* 1 makes the folder in tmp, 2 writes the model */
	assert_int_equal(publish(full, 2, "job-b", 1, &was_there, &err), -1);
	assert_int_equal(err.code, MMQ_RESOURCE_EXHAUSTED);
	fault.mode = SOUND;
	assert_content(store, 1);
	assert_int_equal(publish(full, 2, "job-b", 1, &was_there, &err), 0);
	mmq_store_close(&full);
	mmq_store_close(&store);
}

static void
test_a_number_of_another_job_is_refused(void **state)
{
	struct mmq_store *store = open_store();
	struct mmq_err err;
	bool was_there;

	(void)state;
	assert_int_equal(publish(store, 1, "job-a", 1, &was_there, &err), 0);
	assert_false(was_there);
	assert_int_equal(publish(store, 1, "job-a", 2, &was_there, &err), 0);
	assert_true(was_there);
	assert_int_equal(publish(store, 1, "job-b", 3, &was_there, &err), -1);
	assert_int_equal(err.code, MMQ_ALREADY_EXISTS);
	mmq_store_close(&store);
}

static void
test_alias_generations_only_go_up(void **state)
{
	struct mmq_store *store = open_store();
	struct mmq_err err;
	bool was_there;

	(void)state;
	assert_int_equal(publish(store, 1, "job-a", 1, &was_there, &err), 0);
	assert_int_equal(publish(store, 2, "job-b", 1, &was_there, &err), 0);
	assert_int_equal(set_alias(store, 1, 1, 0, &err), 0);
	assert_int_equal(set_alias(store, 2, 3, 1, &err), 0);
	assert_int_equal(set_alias(store, 2, 3, 1, &err), 0);  /* the answer was lost, the same again */
	assert_int_equal(set_alias(store, 1, 2, -1, &err), -1);
	assert_int_equal(err.code, MMQ_ALREADY_EXISTS);
	assert_int_equal(set_alias(store, 1, 4, 1, &err), -1);
	assert_int_equal(err.code, MMQ_ALREADY_EXISTS);
	assert_string_equal(err.field, "expect");
	assert_int_equal(set_alias(store, 9, 4, -1, &err), -1);
	assert_int_equal(err.code, MMQ_NOT_FOUND);
	assert_int_equal(production(store), 2);
	assert_int_equal(set_alias(store, 0, 4, 3, &err), 0);
	assert_int_equal(production(store), 0);
	mmq_store_close(&store);
}

static void
test_delete_hides_then_removes(void **state)
{
	struct mmq_store *store = open_store();
	struct mmq_err err;
	uint32_t *versions;
	size_t count;
	bool was_there;
	int fd;
	char byte;

	(void)state;
	assert_int_equal(publish(store, 1, "job-a", 1, &was_there, &err), 0);
	assert_int_equal(publish(store, 2, "job-b", 1, &was_there, &err), 0);
	assert_int_equal(set_alias(store, 2, 1, -1, &err), 0);
	assert_int_equal(mmq_store_open_model(store, "default", "iris", 1, &fd, &err), 0);
	assert_int_equal(mmq_store_delete(store, "default", "iris", 2, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_int_equal(mmq_store_delete(store, "default", "iris", 1, &err), 0);
	assert_int_equal(mmq_store_delete(store, "default", "iris", 1, &err), -1);
	assert_int_equal(err.code, MMQ_NOT_FOUND);
	assert_int_equal(mmq_store_clean(store, 60000, &err), 0);
	assert_int_equal(read(fd, &byte, 1), 1);  /* open files live on */
	close(fd);
	assert_int_equal(mmq_store_versions(store, "default", "iris", &versions, &count, &err), 0);
	assert_true(count == 1 && versions[0] == 2);
	free(versions);
	assert_int_equal(mmq_store_delete(store, "default", "iris", 0, &err), 0);
	assert_int_equal(mmq_store_clean(store, 0, &err), 0);
	char command[256];
	snprintf(command, sizeof(command), "test -z \"$(ls -A %s/models/default)\"", folder);
	assert_int_equal(system(command), 0);
	mmq_store_close(&store);
}

static void
test_what_is_no_plain_file_is_refused(void **state)
{
	static const char *const makes[] = { "ln -s /etc/passwd model.mmq", "ln card.json model.mmq", "mkfifo model.mmq", "mkdir model.mmq" };
	struct mmq_store *store = open_store();
	struct mmq_err err;
	bool was_there;
	int fd;

	(void)state;
	assert_int_equal(publish(store, 1, "job-a", 1, &was_there, &err), 0);
	for (size_t i = 0; i < sizeof(makes) / sizeof(*makes); i++) {
		char command[256];
		snprintf(command, sizeof(command), "cd %s/models/default/iris/versions/000001 && rm -rf model.mmq && %s", folder, makes[i]);
		assert_int_equal(system(command), 0);
		assert_int_equal(mmq_store_open_model(store, "default", "iris", 1, &fd, &err), -1);
		assert_int_equal(err.code, MMQ_DATA_LOSS);
	}
	mmq_store_close(&store);
}

static void
test_names_are_checked(void **state)
{
	static const char *const names[] = { "..", ".", "", "a/b", "/etc", "../x", "A", "con", "a\n", "\xc3\xa4" };
	struct mmq_store *store = open_store();
	struct mmq_err err;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		assert_int_equal(mmq_store_open_model(store, "default", names[i], 1, &fd, &err), -1);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
		assert_int_equal(mmq_store_open_model(store, names[i], "iris", 1, &fd, &err), -1);
		assert_int_equal(err.code, MMQ_INVALID_ARGUMENT);
	}
	mmq_store_close(&store);
}

static void
test_format_is_checked(void **state)
{
	struct mmq_store *store = open_store();
	struct mmq_err err;
	char command[256];

	(void)state;
	mmq_store_close(&store);
	snprintf(command, sizeof(command), "echo 'modelmq-store 2' > %s/new; mv -f %s/new %s/FORMAT", folder, folder, folder);
	assert_int_equal(system(command), 0);
	assert_int_equal(mmq_store_open(&store, folder, true, NULL, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	snprintf(command, sizeof(command), "rm %s/FORMAT; touch %s/mine", folder, folder);
	assert_int_equal(system(command), 0);
	assert_int_equal(mmq_store_open(&store, folder, true, NULL, &err), -1);
	assert_int_equal(err.code, MMQ_FAILED_PRECONDITION);
	assert_null(store);
}

int
main(void)
{
#define LAW(test) cmocka_unit_test_setup_teardown(test, fresh_folder, remove_folder)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_survives_each_failed_call),
		cmocka_unit_test(test_survives_a_full_disk_at_each_call),
		cmocka_unit_test(test_survives_a_kill_before_each_call),
		cmocka_unit_test(test_survives_a_kill_after_each_call),
		LAW(test_full_disk_is_resource_exhausted_and_old_version_serves),
		LAW(test_a_number_of_another_job_is_refused),
		LAW(test_alias_generations_only_go_up),
		LAW(test_delete_hides_then_removes),
		LAW(test_what_is_no_plain_file_is_refused),
		LAW(test_names_are_checked),
		LAW(test_format_is_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
