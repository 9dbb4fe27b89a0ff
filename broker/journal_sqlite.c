/* journal_sqlite.c: the journal in one SQLite file: WAL, synchronous=FULL, one thread, one transaction for all batches that wait.
 *
 * The broker's thread puts batches and reads into a queue and never waits; completions come back through a list and an
 * eventfd, after the commit. No space: the transaction is undone, a reserve file is given up, and all but the puts go in
 * again. An I/O error or failed sync leaves the outcome unknown, so the journal says BROKEN from then on. */
#include "broker/journal_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <sodium.h>

#include "util/mem.h"

enum { EVENTS_MAX = 4096, CHECKPOINT_PAGES = 1000 };

struct task {                       /* a batch of commands, or one read (count 0) */
	struct task *next;
	size_t count;
	struct mmq_journal_read read;
	struct mmq_journal_command commands[];
};

struct done {
	struct done *next;
	struct mmq_journal_event event;
};

struct mmq_journal {
	struct journal_db db;
	char *path, *reserve_path;
	int lock_fd, event_fd;
	uint64_t free_bytes_min, reserve_bytes;
	bool has_reserve, is_broken;    /* of the journal's thread */
	bool is_slack;                  /* of the journal's thread: rows were forgotten, there may be pages to give back */
	char broken_why[MMQ_JOURNAL_MESSAGE];
	int wal_pages;

	pthread_t thread;
	pthread_mutex_t mutex;          /* guards all below */
	pthread_cond_t wake;
	struct task *first, **last;
	struct done *done_first, **done_last;
	uint64_t damaged;
	bool is_closing;
};

/* ---- Space ------------------------------------------------------------------------------------------------------ */

static uint64_t
free_bytes(const struct mmq_journal *journal)
{
	struct statvfs fs;

	return statvfs(journal->path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

/* Keep some space aside for outcomes. Without room for it there is none until there is. */
static void
reserve_make(struct mmq_journal *journal)
{
	if (journal->has_reserve || free_bytes(journal) < journal->reserve_bytes + journal->free_bytes_min)
		return;
	int fd = open(journal->reserve_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1)
		return;
	journal->has_reserve = posix_fallocate(fd, 0, (off_t)journal->reserve_bytes) == 0;
	close(fd);
	if (!journal->has_reserve)
		unlink(journal->reserve_path);
}

static void
reserve_drop(struct mmq_journal *journal)
{
	if (journal->has_reserve)
		unlink(journal->reserve_path);
	journal->has_reserve = false;
}

/* ---- One group commit -------------------------------------------------------------------------------------------- */

static bool
is_full(int code)
{
	return (code & 0xff) == SQLITE_FULL;
}

static void
break_journal(struct mmq_journal *journal, int code)
{
	if (journal->is_broken)
		return;
	journal->is_broken = true;
	snprintf(journal->broken_why, sizeof(journal->broken_why), "the journal cannot be written: %s (SQLite %d)", sqlite3_errmsg(journal->db.db), code);
}

static void
fail_event(struct mmq_journal_event *event, enum mmq_journal_status status, const char *why)
{
	journal_release(event);
	event->status = status;
	event->seq = event->result_seq = 0;
	event->number = 0;
	snprintf(event->message, sizeof(event->message), "%s", why);
}

/* Apply all commands in one transaction. SQLITE_OK: committed, events are true. Else nothing was kept (or, after an I/O error,
 * it is not known what was). Puts are refused when refuse_puts. */
static int
try_commit(struct mmq_journal *journal, const struct task *first, size_t count, struct mmq_journal_event *events, bool refuse_puts)
{
	struct journal_db *db = &journal->db;
	const struct { uint64_t next, kept[MMQ_KEPT_KINDS]; } was = { db->next, { db->kept[0], db->kept[1] } };
	size_t at = 0;
	int code = journal_run(db, JS_BEGIN);

	for (const struct task *task = first; code == SQLITE_OK && at < count; task = task->next) {
		for (size_t i = 0; i < task->count && code == SQLITE_OK; i++, at++) {
			const struct mmq_journal_command *command = &task->commands[i];
			events[at] = (struct mmq_journal_event){ .verb = command->verb, .ticket = command->ticket };
			if (command->verb == MMQ_PUT && refuse_puts) {
				fail_event(&events[at], MMQ_JOURNAL_FULL, "no space is left for the journal");
				continue;
			}
			code = journal_apply(db, command, &events[at]);
			if (code == SQLITE_CONSTRAINT || code == SQLITE_TOOBIG) {   /* the command's own fault: the batch goes on */
				fail_event(&events[at], MMQ_JOURNAL_FULL, sqlite3_errmsg(db->db));
				code = SQLITE_OK;
			} else if (events[at].status == MMQ_JOURNAL_DAMAGED) {
				snprintf(events[at].message, sizeof(events[at].message), "%s", db->why);
			}
		}
	}
	if (code == SQLITE_OK && db->next != was.next)
		code = journal_setting_put(db, "next", &db->next, sizeof(db->next));
	if (code == SQLITE_OK && memcmp(db->kept, was.kept, sizeof(db->kept)) != 0)
		code = journal_setting_put(db, "kept", db->kept, sizeof(db->kept));
	if (code == SQLITE_OK)
		code = journal_run(db, JS_COMMIT);
	if (code == SQLITE_OK)
		return SQLITE_OK;
	if (!is_full(code))
		break_journal(journal, code);
	if (sqlite3_get_autocommit(db->db) == 0)
		journal_run(db, JS_ROLLBACK);
	db->next = was.next;
	memcpy(db->kept, was.kept, sizeof(db->kept));
	for (size_t i = 0; i < at; i++)
		journal_release(&events[i]);
	return code;
}

static void
commit(struct mmq_journal *journal, const struct task *first, size_t count, struct mmq_journal_event *events)
{
	bool is_low = free_bytes(journal) < journal->free_bytes_min;
	int code = SQLITE_OK;

	if (!is_low)
		reserve_make(journal);
	if (!journal->is_broken)
		code = try_commit(journal, first, count, events, is_low);
	if (is_full(code) && !journal->is_broken) {
		reserve_drop(journal);
		code = try_commit(journal, first, count, events, true);
	}
	if (code == SQLITE_OK && !journal->is_broken)
		return;
	size_t at = 0;
	for (const struct task *task = first; at < count; task = task->next)
		for (size_t i = 0; i < task->count; i++, at++) {
			events[at] = (struct mmq_journal_event){ .verb = task->commands[i].verb, .ticket = task->commands[i].ticket };
			fail_event(&events[at], journal->is_broken ? MMQ_JOURNAL_BROKEN : MMQ_JOURNAL_FULL,
			    journal->is_broken ? journal->broken_why : "no space is left for the journal");
		}
}

/* Move committed pages into the file, here rather than inside a commit, where SQLite would hide an I/O error. */
static void
checkpoint(struct mmq_journal *journal)
{
	if (journal->wal_pages < CHECKPOINT_PAGES || journal->is_broken)
		return;
	journal->wal_pages = 0;
	int code = sqlite3_wal_checkpoint_v2(journal->db.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT)
		break_journal(journal, code);
}

/* Whether there is more to give back. */
static bool
give_back(struct mmq_journal *journal)
{
	bool is_more = false;
	int code = journal->is_broken ? SQLITE_OK : journal_give_back(&journal->db, &is_more);

	if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT)
		break_journal(journal, code);
	checkpoint(journal);
	return is_more;
}

static int
on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct mmq_journal *journal = arg;

	(void)db;
	(void)name;
	journal->wal_pages = pages;
	return SQLITE_OK;
}

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static void
say_done(struct mmq_journal *journal, const struct mmq_journal_event *events, size_t count)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&journal->mutex);
	journal->damaged = journal->db.damaged;
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
run_read(struct mmq_journal *journal, const struct task *task)
{
	struct mmq_journal_page *page = mmq_alloc(sizeof(*page));
	struct mmq_journal_event event = { .is_page = true, .ticket = task->read.ticket, .page = page };

	page->query = task->read.query;
	page->ticket = task->read.ticket;
	journal->db.why[0] = '\0';
	journal_query(&journal->db, &task->read, page);
	event.status = page->status;
	snprintf(event.message, sizeof(event.message), "%s", page->status == MMQ_JOURNAL_BROKEN ? sqlite3_errmsg(journal->db.db) : journal->db.why);
	say_done(journal, &event, 1);
}

/* All batches from first up to the next read, or EVENTS_MAX commands. *count_out: commands; returns the task after them. */
static struct task *
group_end(struct task *first, size_t *count_out)
{
	struct task *task = first;

	for (*count_out = 0; task != NULL && task->count > 0 && (*count_out == 0 || *count_out + task->count <= EVENTS_MAX); task = task->next)
		*count_out += task->count;
	return task;
}

static void
run_tasks(struct mmq_journal *journal, struct task *first)
{
	while (first != NULL) {
		struct task *end = first->next;
		if (first->count == 0) {
			run_read(journal, first);
		} else {
			size_t count;
			end = group_end(first, &count);
			struct mmq_journal_event *events = mmq_array(count, sizeof(*events));
			commit(journal, first, count, events);
			for (size_t i = 0; i < count; i++)
				journal->is_slack |= events[i].verb == MMQ_PRUNE && events[i].number > 0;
			say_done(journal, events, count);
			free(events);
			checkpoint(journal);
		}
		while (first != end) {
			struct task *next = first->next;
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
		struct task *first = journal->first;
		if (first == NULL && journal->is_closing)
			break;   /* all is done */
		if (first == NULL) {
			pthread_mutex_unlock(&journal->mutex);
			journal->is_slack = give_back(journal);
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
enqueue(struct mmq_journal *journal, struct task *task)
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
	struct task *task = mmq_alloc(sizeof(*task) + count * sizeof(*commands));

	task->count = count;
	memcpy(task->commands, commands, count * sizeof(*commands));
	enqueue(journal, task);
}

static void
sqlite_read(struct mmq_journal *journal, const struct mmq_journal_read *read)
{
	struct task *task = mmq_alloc(sizeof(*task));

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
	if (journal_setting_get(&journal->db, full_key, value_out, value_size - 1, &size) != SQLITE_OK)
		size = 0;
	value_out[size] = '\0';
	return size;
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------- */

static void
journal_free(struct mmq_journal *journal)
{
	journal_statements_fini(&journal->db);
	sqlite3_close(journal->db.db);
	while (journal->done_first != NULL) {
		struct done *done = journal->done_first;
		journal->done_first = done->next;
		journal_release(&done->event);
		free(done);
	}
	if (journal->event_fd != -1)
		close(journal->event_fd);
	if (journal->lock_fd != -1)
		close(journal->lock_fd);
	pthread_mutex_destroy(&journal->mutex);
	pthread_cond_destroy(&journal->wake);
	free(journal->path);
	free(journal->reserve_path);
	free(journal);
}

static int
sqlite_open(struct mmq_journal **journal_out, const struct mmq_journal_options *options, struct mmq_journal_info *info_out, struct mmq_err *err)
{
	static const char pragmas[] = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;"
	    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384";
	struct mmq_journal *journal = mmq_alloc(sizeof(*journal));
	size_t reserve_size = strlen(options->path) + sizeof(".reserve");

	*journal_out = NULL;
	journal->path = mmq_strdup(options->path);
	journal->reserve_path = mmq_alloc(reserve_size);
	snprintf(journal->reserve_path, reserve_size, "%s.reserve", options->path);
	journal->lock_fd = -1;
	journal->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	journal->free_bytes_min = options->free_bytes_min > 0 ? options->free_bytes_min : UINT64_C(64) << 20;
	journal->reserve_bytes = options->reserve_bytes > 0 ? options->reserve_bytes : UINT64_C(8) << 20;
	journal->last = &journal->first;
	journal->done_last = &journal->done_first;
	pthread_mutex_init(&journal->mutex, NULL);
	pthread_cond_init(&journal->wake, NULL);
	if (sodium_init() == -1 || journal->event_fd == -1) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "journal: no descriptor or no random numbers: %s", strerror(errno));
		goto fail;
	}
	if (journal_file_lock(journal->path, &journal->lock_fd, err) == -1)
		goto fail;
	int fd = open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);   /* for the mode; SQLite would make it readable by others */
	if (fd == -1) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", journal->path, strerror(errno));
		goto fail;
	}
	close(fd);
	if (sqlite3_open_v2(journal->path, &journal->db.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK ||
	    sqlite3_exec(journal->db.db, pragmas, NULL, NULL, NULL) != SQLITE_OK) {
		mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", journal->path, sqlite3_errmsg(journal->db.db));
		goto fail;
	}
	sqlite3_extended_result_codes(journal->db.db, 0);
	sqlite3_wal_hook(journal->db.db, on_wal, journal);
	if (journal_file_format(&journal->db, options, err) == -1 || journal_file_start(&journal->db, options->path, info_out, err) == -1)
		goto fail;
	journal->has_reserve = access(journal->reserve_path, F_OK) == 0;
	reserve_make(journal);
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
