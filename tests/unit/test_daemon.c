/* Options: one table serves defaults, file, environment and flags, and names what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/daemon.h"

struct config {
	char *name;
	int64_t depth, bytes;
	bool fast;
};

static const struct mmq_option rows[] = {
	{ "test-name", MMQ_OPTION_TEXT, offsetof(struct config, name), "anna", 0, 0, 0, "a name" },
	{ "test-depth", MMQ_OPTION_COUNT, offsetof(struct config, depth), "10", 1, 100, MMQ_OPTION_RELOAD, "a depth" },
	{ "test-bytes", MMQ_OPTION_BYTES, offsetof(struct config, bytes), "4M", 0, 1 << 30, 0, "a size" },
	{ "test-fast", MMQ_OPTION_FLAG, offsetof(struct config, fast), NULL, 0, 0, 0, "a flag" },
	{ .name = NULL },
};

static void
file_write(char path[32], const char *text)
{
	int fd;

	snprintf(path, 32, "/tmp/mmq-options-XXXXXX");
	fd = mkstemp(path);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void
test_later_sources_win_in_any_order(void **state)
{
	char *argv[] = { "x", "--test-depth=40", "--test-fast", NULL };
	struct config config = { 0 };
	struct mmq_options options;
	struct mmq_err err = { 0 };
	char path[32];

	(void)state;
	assert_int_equal(mmq_options_init(&options, rows, &config, NULL, &err), 0);
	assert_string_equal(config.name, "anna");
	assert_int_equal(config.bytes, 4 << 20);
	assert_int_equal(mmq_options_flags(&options, 3, argv, &err), 0);
	setenv("MMQ_TEST_DEPTH", "30", 1);
	setenv("MMQ_TEST_BYTES", "2k", 1);
	assert_int_equal(mmq_options_environment(&options, &err), 0);
	unsetenv("MMQ_TEST_DEPTH");
	unsetenv("MMQ_TEST_BYTES");
	file_write(path, "# a comment\n\n test-depth = 20\ntest-name = bert\ntest-bytes=1\n");
	assert_int_equal(mmq_options_read(&options, path, &err), 0);
	unlink(path);
	assert_int_equal(config.depth, 40);
	assert_int_equal(config.bytes, 2048);
	assert_string_equal(config.name, "bert");
	assert_true(config.fast);
	mmq_options_fini(&options);
	assert_null(config.name);
}

static void
test_reload_changes_only_marked_rows(void **state)
{
	struct config config = { 0 };
	struct mmq_options options;
	struct mmq_err err = { 0 };
	char path[32];

	(void)state;
	assert_int_equal(mmq_options_init(&options, rows, &config, NULL, &err), 0);
	options.reloading = true;
	file_write(path, "test-depth = 20\ntest-name = bert\n");
	assert_int_equal(mmq_options_read(&options, path, &err), 0);
	unlink(path);
	assert_int_equal(config.depth, 20);
	assert_string_equal(config.name, "anna");
	mmq_options_fini(&options);
}

static void
test_what_is_wrong_is_named(void **state)
{
	static const struct { const char *name, *text, *says; } cases[] = {
		{ "test-depth", "101", "from 1 to 100" }, { "test-depth", "0", "test-depth" }, { "test-depth", "7x", "'7x'" },
		{ "test-depth", "", "test-depth" }, { "test-depth", "5k", "'5k'" }, { "test-bytes", "9999999999999999999G", "test-bytes" },
		{ "test-bytes", "2G", "test-bytes" }, { "test-fast", "perhaps", "yes or no" }, { "colour", "1", "known option" },
	};
	struct config config = { 0 };
	struct mmq_options options;
	struct mmq_err err = { 0 };
	char path[32];

	(void)state;
	assert_int_equal(mmq_options_init(&options, rows, &config, NULL, &err), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(mmq_options_set(&options, cases[i].name, cases[i].text, MMQ_FROM_FLAG, &err), -1);
		assert_non_null(strstr(err.message, cases[i].says));
	}
	file_write(path, "test-depth = 20\ncolour = red\n");
	assert_int_equal(mmq_options_read(&options, path, &err), -1);
	assert_non_null(strstr(err.message, ":2: colour"));
	unlink(path);
	mmq_options_fini(&options);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_later_sources_win_in_any_order),
		cmocka_unit_test(test_reload_changes_only_marked_rows),
		cmocka_unit_test(test_what_is_wrong_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
