/* journal_helper.c: see journal_helper.h. */
#include "tests/unit/journal_helper.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/mem.h"
#include "wire/peek.h"
#include "work/work.h"

struct journal_test *
journal_test_open(const struct mmq_journal_ops *ops, const char *folder)
{
	struct journal_test *test = mmq_alloc(sizeof(*test));
	struct mmq_journal_options options = { .path = test->path, .free_bytes_min = 1, .reserve_bytes = 4096 };
	struct mmq_err err;

	test->ops = ops;
	snprintf(test->folder, sizeof(test->folder), "%s", folder != NULL ? folder : "/tmp/mmq-journal-XXXXXX");
	if (folder == NULL && mkdtemp(test->folder) == NULL)
		abort();
	snprintf(test->path, sizeof(test->path), "%s/journal.db", test->folder);
	memset(options.random, 'r', sizeof(options.random));
	if (ops->open(&test->journal, &options, &test->info, &err) == -1) {
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
	return test;
}

void
journal_test_close(struct journal_test *test, bool remove_folder)
{
	char command[96];

	test->ops->close(&test->journal);
	snprintf(command, sizeof(command), "rm -rf '%s'", test->folder);
	if (remove_folder && system(command) != 0)
		abort();
	free(test);
}

void
journal_test_wait(struct journal_test *test, struct mmq_journal_event *events_out, size_t count)
{
	size_t have = 0;

	while (have < count) {
		struct pollfd fd = { .fd = test->ops->fd(test->journal), .events = POLLIN };
		if (fd.fd != -1 && poll(&fd, 1, 20000) != 1)
			abort();
		have += test->ops->poll(test->journal, events_out + have, count - have);
	}
}

struct mmq_journal_event
journal_test_do(struct journal_test *test, const struct mmq_journal_command *command)
{
	struct mmq_journal_event event;

	test->ops->submit(test->journal, command, 1);
	journal_test_wait(test, &event, 1);
	if (event.is_page || event.verb != command->verb || event.ticket != command->ticket)
		abort();
	return event;
}

void
journal_test_do_all(struct journal_test *test, const struct mmq_journal_command *commands, size_t count)
{
	struct mmq_journal_event *events = mmq_array(count, sizeof(*events));

	test->ops->submit(test->journal, commands, count);
	journal_test_wait(test, events, count);
	for (size_t i = 0; i < count; i++)
		if (events[i].status != MMQ_JOURNAL_OK)
			abort();
	free(events);
}

struct mmq_journal_event
journal_test_read(struct journal_test *test, const struct mmq_journal_read *read)
{
	struct mmq_journal_event event;

	test->ops->read(test->journal, read);
	journal_test_wait(test, &event, 1);
	if (!event.is_page)
		abort();
	return event;
}

const struct mmq_body *
journal_test_body(const char *text)
{
	static struct mmq_body bodies[16];
	static unsigned at;
	struct mmq_body *body = &bodies[at++ % 16];

	*body = (struct mmq_body){ .bytes = (const uint8_t *)text, .size = strlen(text) };
	return body;
}

struct mmq_journal_command
journal_test_put(int number, const char *body)
{
	struct mmq_journal_command command = { .verb = MMQ_PUT, .ticket = (uint64_t)number, .body = journal_test_body(body) };
	struct mmq_journal_row *row = &command.row;

	strcpy(row->tenant, "default");
	strcpy(row->model, "iris");
	row->id_size = (uint8_t)snprintf((char *)row->id, sizeof(row->id), "id%03d", number);
	row->op = MMQ_OP_TRAIN;
	row->kind = MMQ_WORK_TRAIN;
	row->priority = 5;
	row->version = 3;
	row->created_ms = 1000;
	return command;
}

struct mmq_journal_command
journal_test_outcome(uint64_t seq, const char *answer)
{
	struct mmq_journal_command command = { .verb = MMQ_OUTCOME, .body = journal_test_body(answer), .wall_ms = 2000 };

	command.row.seq = seq;
	command.row.state = MMQ_JOB_DONE;
	command.row.result_version = 9;
	strcpy(command.row.topic, "result/default/iris/train");
	return command;
}

uint8_t *
journal_test_read_file(const char *path, size_t *size_out)
{
	FILE *file = fopen(path, "rb");
	struct stat st;

	if (file == NULL || fstat(fileno(file), &st) == -1)
		abort();
	uint8_t *bytes = mmq_alloc((size_t)st.st_size + 1);
	*size_out = fread(bytes, 1, (size_t)st.st_size, file);
	fclose(file);
	return bytes;
}

void
journal_test_write_file(const char *path, const uint8_t *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
		abort();
}

int
journal_test_setup_memory(void **state)
{
	*state = journal_test_open(&mmq_journal_memory, NULL);
	return 0;
}

int
journal_test_setup_sqlite(void **state)
{
	*state = journal_test_open(&mmq_journal_sqlite, NULL);
	return 0;
}

int
journal_test_teardown(void **state)
{
	journal_test_close(*state, true);
	return 0;
}
