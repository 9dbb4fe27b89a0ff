/* journal_sqlite.c: the journal on SQLite as the broker sees it: one thread that owns the connection (journal_disk.c), and the queue to it.
 *
 * The broker's thread puts batches and reads into the queue and never waits; completions come back through a list and an
 * eventfd, after the commit. All batches that wait when the thread comes back become one transaction. */
#include "broker/journal_inner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <sodium.h>

#include "util/mem.h"

enum { EVENTS_MAX = 4096 };

struct done {
	struct done *next;
	struct mmq_journal_event event;
};

struct mmq_journal {
	struct journal_disk disk;       /* of the journal's thread once that runs */
	int event_fd;
	bool is_slack;                  /* of the journal's thread: rows were forgotten, there may be pages to give back */

	pthread_t thread;
	pthread_mutex_t mutex;          /* guards all below */
	pthread_cond_t wake;
	struct journal_task *first, **last;
	struct done *done_first, **done_last;
	uint64_t damaged;
	bool is_closing;
};

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static void
say_done(struct mmq_journal *journal, const struct mmq_journal_event *events, size_t count)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&journal->mutex);
	journal->damaged = journal->disk.db.damaged;
	for (size_t i = 0; i < count; i++) {
		struct done *done = mmq_alloc(sizeof(*done));
		done->event = events[i];
		*journal->done_last = done;
		journal->done_last = &done->next;
	}
	pthread_mutex_unlock(&journal->mutex);
	if (count > 0 && write(journal->event_fd, &one, sizeof(one)) == -1)
		return;   /* the counter is full, so it is readable */
}

static void
run_read(struct mmq_journal *journal, const struct journal_task *task)
{
	struct mmq_journal_page *page = mmq_alloc(sizeof(*page));
	struct mmq_journal_event event = { .is_page = true, .ticket = task->read.ticket, .page = page };

	page->query = task->read.query;
	page->ticket = task->read.ticket;
	journal->disk.db.why[0] = '\0';
	journal_query(&journal->disk.db, &task->read, page);
	event.status = page->status;
	snprintf(event.message, sizeof(event.message), "%s", page->status == MMQ_JOURNAL_BROKEN ? sqlite3_errmsg(journal->disk.db.db) : journal->disk.db.why);
	say_done(journal, &event, 1);
}

/* All batches from first up to the next read, or EVENTS_MAX commands. *count_out: commands; returns the task after them. */
static struct journal_task *
group_end(struct journal_task *first, size_t *count_out)
{
	struct journal_task *task = first;

	for (*count_out = 0; task != NULL && task->count > 0 && (*count_out == 0 || *count_out + task->count <= EVENTS_MAX); task = task->next)
		*count_out += task->count;
	return task;
}

static void
run_tasks(struct mmq_journal *journal, struct journal_task *first)
{
	while (first != NULL) {
		struct journal_task *end = first->next;
		if (first->count == 0) {
			run_read(journal, first);
		} else {
			size_t count;
			end = group_end(first, &count);
			struct mmq_journal_event *events = mmq_array(count, sizeof(*events));
			journal_disk_commit(&journal->disk, first, count, events);
			for (size_t i = 0; i < count; i++)
				journal->is_slack |= events[i].verb == MMQ_PRUNE && events[i].number > 0;
			say_done(journal, events, count);
			free(events);
			journal_disk_checkpoint(&journal->disk);
		}
		while (first != end) {
			struct journal_task *next = first->next;
			free(first);
			first = next;
		}
	}
}

static void *
thread_run(void *arg)
{
	struct mmq_journal *journal = arg;

	pthread_mutex_lock(&journal->mutex);
	for (;;) {
		while (journal->first == NULL && !journal->is_closing && !journal->is_slack)
			pthread_cond_wait(&journal->wake, &journal->mutex);
		struct journal_task *first = journal->first;
		if (first == NULL && journal->is_closing)
			break;   /* all is done */
		if (first == NULL) {
			pthread_mutex_unlock(&journal->mutex);
			journal->is_slack = journal_disk_give_back(&journal->disk);
			pthread_mutex_lock(&journal->mutex);
			continue;
		}
		journal->first = NULL;
		journal->last = &journal->first;
		pthread_mutex_unlock(&journal->mutex);
		run_tasks(journal, first);
		pthread_mutex_lock(&journal->mutex);
	}
	pthread_mutex_unlock(&journal->mutex);
	return NULL;
}

static void
enqueue(struct mmq_journal *journal, struct journal_task *task)
{
	pthread_mutex_lock(&journal->mutex);
	*journal->last = task;
	journal->last = &task->next;
	pthread_cond_signal(&journal->wake);
	pthread_mutex_unlock(&journal->mutex);
}

static void
sqlite_submit(struct mmq_journal *journal, const struct mmq_journal_command *commands, size_t count)
{
	if (count == 0)
		return;
	struct journal_task *task = mmq_alloc(sizeof(*task) + count * sizeof(*commands));

	task->count = count;
	memcpy(task->commands, commands, count * sizeof(*commands));
	enqueue(journal, task);
}

static void
sqlite_read(struct mmq_journal *journal, const struct mmq_journal_read *read)
{
	struct journal_task *task = mmq_alloc(sizeof(*task));

	task->read = *read;
	enqueue(journal, task);
}

static size_t
sqlite_poll(struct mmq_journal *journal, struct mmq_journal_event *events_out, size_t max)
{
	uint64_t counter;
	size_t count = 0;

	pthread_mutex_lock(&journal->mutex);
	while (count < max && journal->done_first != NULL) {
		struct done *done = journal->done_first;
		events_out[count++] = done->event;
		journal->done_first = done->next;
		free(done);
	}
	if (journal->done_first == NULL) {
		journal->done_last = &journal->done_first;
		if (read(journal->event_fd, &counter, sizeof(counter)) == -1)
			counter = 0;   /* nothing was written to it */
	}
	pthread_mutex_unlock(&journal->mutex);
	return count;
}

static int
sqlite_fd(const struct mmq_journal *journal)
{
	return journal->event_fd;
}

static uint64_t
sqlite_damaged(const struct mmq_journal *journal)
{
	pthread_mutex_t *mutex = &((struct mmq_journal *)journal)->mutex;

	pthread_mutex_lock(mutex);
	uint64_t damaged = journal->damaged;
	pthread_mutex_unlock(mutex);
	return damaged;
}

/* At start, before the first submit: the journal's thread is idle. */
static uint64_t
sqlite_get_meta(struct mmq_journal *journal, const char *key, char *value_out, size_t value_size)
{
	char full_key[64];
	size_t size = 0;

	snprintf(full_key, sizeof(full_key), "meta.%s", key);
	if (value_size == 0)
		return 0;
	if (journal_setting_get(&journal->disk.db, full_key, value_out, value_size - 1, &size) != SQLITE_OK)
		size = 0;
	value_out[size] = '\0';
	return size;
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------- */

static void
journal_free(struct mmq_journal *journal)
{
	journal_disk_close(&journal->disk);
	while (journal->done_first != NULL) {
		struct done *done = journal->done_first;
		journal->done_first = done->next;
		journal_release(&done->event);
		free(done);
	}
	if (journal->event_fd != -1)
		close(journal->event_fd);
	pthread_mutex_destroy(&journal->mutex);
	pthread_cond_destroy(&journal->wake);
	free(journal);
}

static int
sqlite_open(struct mmq_journal **journal_out, const struct mmq_journal_options *options, struct mmq_journal_info *info_out, struct mmq_err *err)
{
	struct mmq_journal *journal = mmq_alloc(sizeof(*journal));

	*journal_out = NULL;
	journal->disk.lock_fd = -1;
	journal->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	journal->last = &journal->first;
	journal->done_last = &journal->done_first;
	pthread_mutex_init(&journal->mutex, NULL);
	pthread_cond_init(&journal->wake, NULL);
	if (sodium_init() == -1 || journal->event_fd == -1) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "journal: no descriptor or no random numbers: %s", strerror(errno));
		goto fail;
	}
	if (journal_disk_open(&journal->disk, options, info_out, err) == -1)
		goto fail;
	if (pthread_create(&journal->thread, NULL, thread_run, journal) != 0) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "journal: no thread");
		goto fail;
	}
	*journal_out = journal;
	return 0;
fail:
	journal_free(journal);
	return -1;
}

static void
sqlite_close(struct mmq_journal **journal_in)
{
	struct mmq_journal *journal = *journal_in;

	if (journal == NULL)
		return;
	pthread_mutex_lock(&journal->mutex);
	journal->is_closing = true;
	pthread_cond_signal(&journal->wake);
	pthread_mutex_unlock(&journal->mutex);
	pthread_join(journal->thread, NULL);
	journal_free(journal);
	*journal_in = NULL;
}

const struct mmq_journal_ops mmq_journal_sqlite = {
	.name = "sqlite",
	.open = sqlite_open,
	.close = sqlite_close,
	.fd = sqlite_fd,
	.submit = sqlite_submit,
	.read = sqlite_read,
	.poll = sqlite_poll,
	.release = journal_release,
	.damaged = sqlite_damaged,
	.get_meta = sqlite_get_meta,
};
