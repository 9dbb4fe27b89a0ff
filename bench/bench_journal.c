/* bench_journal.c: durable puts of 1 KiB jobs per second through the journal, beside the limit of the disk: the same bytes appended to
 * a bare file with fdatasync. The two are interleaved, 1 and 64 jobs per commit, and the medians of some rounds are printed. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "broker/journal.h"
#include "util/clock.h"
#include "util/mem.h"
#include "wire/peek.h"
#include "work/work.h"

enum { ROUNDS = 5, JOB_BYTES = 1024, ROUND_US = 400000 };

static double
file_rate(const char *folder, size_t batch)
{
	char path[160], bytes[JOB_BYTES];
	int64_t began = mmq_clock_mono_us(), now = began;
	size_t jobs = 0;

	memset(bytes, 'x', sizeof(bytes));
	snprintf(path, sizeof(path), "%s/bare", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (; now - began < ROUND_US; now = mmq_clock_mono_us(), jobs += batch) {
		for (size_t i = 0; i < batch; i++)
			if (write(fd, bytes, sizeof(bytes)) != sizeof(bytes))
				abort();
		if (fdatasync(fd) == -1)
			abort();
	}
	close(fd);
	return (double)jobs * 1e6 / (double)(now - began);
}

static double
journal_rate(const struct mmq_journal_ops *ops, struct mmq_journal *journal, size_t batch, uint64_t *number)
{
	struct mmq_journal_command *commands = mmq_array(batch, sizeof(*commands));
	struct mmq_journal_event events[64];
	char bytes[JOB_BYTES];
	struct mmq_body body = { .bytes = (const uint8_t *)bytes, .size = sizeof(bytes) };
	int64_t began = mmq_clock_mono_us(), now = began;
	size_t jobs = 0;

	memset(bytes, 'x', sizeof(bytes));
	for (; now - began < ROUND_US; now = mmq_clock_mono_us(), jobs += batch) {
		for (size_t i = 0; i < batch; i++) {
			struct mmq_journal_row *row = &commands[i].row;
			commands[i].verb = MMQ_PUT;
			commands[i].body = &body;
			snprintf(row->tenant, sizeof(row->tenant), "default");
			snprintf(row->model, sizeof(row->model), "m%llu", (unsigned long long)(*number % 8));
			row->id_size = (uint8_t)snprintf((char *)row->id, sizeof(row->id), "%032llx", (unsigned long long)(++*number * 0x9e3779b97f4a7c15u));
			row->op = MMQ_OP_TRAIN;
			row->kind = MMQ_WORK_TRAIN;
			memcpy(row->job, number, sizeof(*number));
			row->created_ms = 1;
		}
		ops->submit(journal, commands, batch);
		for (size_t have = 0; have < batch;) {
			struct pollfd fd = { .fd = ops->fd(journal), .events = POLLIN };
			poll(&fd, 1, -1);
			size_t count = ops->poll(journal, events, 64);
			for (size_t i = 0; i < count; i++)
				if (events[i].status != MMQ_JOURNAL_OK)
					abort();
			have += count;
		}
	}
	free(commands);
	return (double)jobs * 1e6 / (double)(now - began);
}

static int
compare(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

int
main(int argc, char **argv)
{
	char folder[128], path[160], command[192];
	const size_t batches[] = { 1, 64 };
	uint64_t number = 0;
	struct mmq_journal *journal;
	struct mmq_journal_info info;
	struct mmq_err err;

	snprintf(folder, sizeof(folder), "%s/mmq-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
	if (mkdtemp(folder) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/journal.db", folder);
	struct mmq_journal_options options = { .path = path };
	if (mmq_journal_sqlite.open(&journal, &options, &info, &err) == -1) {
		fprintf(stderr, "%s\n", err.message);
		return 1;
	}
	printf("durable puts of 1 KiB, medians of %d interleaved rounds, SQLite %s, folder %s\n", ROUNDS, sqlite3_libversion(), folder);
	printf("%-10s %14s %14s %8s\n", "per commit", "journal, 1/s", "bare file, 1/s", "ratio");
	for (size_t b = 0; b < 2; b++) {
		double ours[ROUNDS], theirs[ROUNDS];
		for (int round = 0; round < ROUNDS; round++) {
			ours[round] = journal_rate(&mmq_journal_sqlite, journal, batches[b], &number);
			theirs[round] = file_rate(folder, batches[b]);
		}
		qsort(ours, ROUNDS, sizeof(double), compare);
		qsort(theirs, ROUNDS, sizeof(double), compare);
		printf("%-10zu %14.0f %14.0f %8.2f\n", batches[b], ours[ROUNDS / 2], theirs[ROUNDS / 2], ours[ROUNDS / 2] / theirs[ROUNDS / 2]);
	}
	mmq_journal_sqlite.close(&journal);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) != 0;
}
