/* journal_disk.c: one connection to one SQLite file: WAL, synchronous=FULL. Opens it, commits all commands that wait as one
 * transaction, keeps space aside for outcomes, moves committed pages into the file. Used by one thread at a time.
 *
 * No space: the transaction is undone, a reserve file is given up, and all but the puts go in again. An I/O error or failed sync
 * leaves the outcome unknown, so the journal says BROKEN from then on. Numbers are reserved by the thousand, so that most commits
 * need not write where the next one goes on: after a crash the rest of a thousand is never used. */
#include "broker/journal_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "util/mem.h"

enum { CHECKPOINT_PAGES = 1000, NUMBERS_AHEAD = 1000 };

/* ---- Space ------------------------------------------------------------------------------------------------------ */

static uint64_t
free_bytes(const struct journal_disk *disk)
{
	struct statvfs fs;

	return statvfs(disk->path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
}

/* Keep some space aside for outcomes. Without room for it there is none until there is. */
static void
reserve_make(struct journal_disk *disk)
{
	if (disk->has_reserve || free_bytes(disk) < disk->reserve_bytes + disk->free_bytes_min)
		return;
	int fd = open(disk->reserve_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd == -1)
		return;
	disk->has_reserve = posix_fallocate(fd, 0, (off_t)disk->reserve_bytes) == 0;
	close(fd);
	if (!disk->has_reserve)
		unlink(disk->reserve_path);
}

static void
reserve_drop(struct journal_disk *disk)
{
	if (disk->has_reserve)
		unlink(disk->reserve_path);
	disk->has_reserve = false;
}

/* ---- One group commit -------------------------------------------------------------------------------------------- */

static bool
is_full(int code)
{
	return (code & 0xff) == SQLITE_FULL;
}

static void
break_journal(struct journal_disk *disk, int code)
{
	if (disk->is_broken)
		return;
	disk->is_broken = true;
	snprintf(disk->broken_why, sizeof(disk->broken_why), "the journal cannot be written: %s (SQLite %d)", sqlite3_errmsg(disk->db.db), code);
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

/* The counters go with the commands that changed them. */
static int
put_numbers(struct journal_db *db, const struct journal_numbers *was)
{
	struct journal_numbers *numbers = &db->numbers;
	int code = SQLITE_OK;

	if (numbers->next > numbers->reserved) {
		numbers->reserved = numbers->next + NUMBERS_AHEAD;
		code = journal_setting_put(db, "next", &numbers->reserved, sizeof(numbers->reserved));
	}
	if (code == SQLITE_OK && memcmp(numbers->kept, was->kept, sizeof(was->kept)) != 0)
		code = journal_setting_put(db, "kept", numbers->kept, sizeof(numbers->kept));
	return code;
}

/* Apply all commands in one transaction. SQLITE_OK: committed, events are true. Else nothing was kept (or, after an I/O error,
 * it is not known what was). Puts are refused when refuse_puts. */
static int
try_commit(struct journal_disk *disk, const struct journal_task *first, size_t count, struct mmq_journal_event *events, bool refuse_puts)
{
	struct journal_db *db = &disk->db;
	const struct journal_numbers was = db->numbers;
	size_t at = 0;
	int code = journal_run(db, JS_BEGIN);

	for (const struct journal_task *task = first; code == SQLITE_OK && at < count; task = task->next) {
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
	if (code == SQLITE_OK)
		code = put_numbers(db, &was);
	if (code == SQLITE_OK)
		code = journal_run(db, JS_COMMIT);
	if (code == SQLITE_OK)
		return SQLITE_OK;
	if (!is_full(code))
		break_journal(disk, code);
	if (sqlite3_get_autocommit(db->db) == 0)
		journal_run(db, JS_ROLLBACK);
	db->numbers = was;
	for (size_t i = 0; i < at; i++)
		journal_release(&events[i]);
	return code;
}

void
journal_disk_commit(struct journal_disk *disk, const struct journal_task *first, size_t count, struct mmq_journal_event *events)
{
	bool is_low = free_bytes(disk) < disk->free_bytes_min;
	int code = SQLITE_OK;

	if (!is_low)
		reserve_make(disk);
	if (!disk->is_broken)
		code = try_commit(disk, first, count, events, is_low);
	if (is_full(code) && !disk->is_broken) {
		reserve_drop(disk);
		code = try_commit(disk, first, count, events, true);
	}
	if (code == SQLITE_OK && !disk->is_broken)
		return;
	size_t at = 0;
	for (const struct journal_task *task = first; at < count; task = task->next)
		for (size_t i = 0; i < task->count; i++, at++) {
			events[at] = (struct mmq_journal_event){ .verb = task->commands[i].verb, .ticket = task->commands[i].ticket };
			fail_event(&events[at], disk->is_broken ? MMQ_JOURNAL_BROKEN : MMQ_JOURNAL_FULL,
			    disk->is_broken ? disk->broken_why : "no space is left for the journal");
		}
}

void
journal_disk_checkpoint(struct journal_disk *disk)
{
	if (disk->wal_pages < CHECKPOINT_PAGES || disk->is_broken)
		return;
	disk->wal_pages = 0;
	int code = sqlite3_wal_checkpoint_v2(disk->db.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT)
		break_journal(disk, code);
}

bool
journal_disk_give_back(struct journal_disk *disk)
{
	bool is_more = false;
	int code = disk->is_broken ? SQLITE_OK : journal_give_back(&disk->db, &is_more);

	if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT)
		break_journal(disk, code);
	journal_disk_checkpoint(disk);
	return is_more;
}

static int
on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct journal_disk *disk = arg;

	(void)db;
	(void)name;
	disk->wal_pages = pages;
	return SQLITE_OK;
}

/* ---- Opening and closing ----------------------------------------------------------------------------------------- */

/* Without SQLite's own mutexes: whoever calls into this connection is alone. */
int
journal_disk_open(struct journal_disk *disk, const struct mmq_journal_options *options, struct mmq_journal_info *info_out, struct mmq_err *err)
{
	static const char pragmas[] = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;"
	    "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -16384";
	size_t reserve_size = strlen(options->path) + sizeof(".reserve");

	disk->path = mmq_strdup(options->path);
	disk->reserve_path = mmq_alloc(reserve_size);
	snprintf(disk->reserve_path, reserve_size, "%s.reserve", options->path);
	disk->lock_fd = -1;
	disk->free_bytes_min = options->free_bytes_min > 0 ? options->free_bytes_min : UINT64_C(64) << 20;
	disk->reserve_bytes = options->reserve_bytes > 0 ? options->reserve_bytes : UINT64_C(8) << 20;
	if (journal_file_lock(disk->path, &disk->lock_fd, err) == -1)
		return -1;
	int fd = open(disk->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);   /* for the mode; SQLite would make it readable by others */
	if (fd == -1)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", disk->path, strerror(errno));
	close(fd);
	if (sqlite3_open_v2(disk->path, &disk->db.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
	    sqlite3_exec(disk->db.db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
		return mmq_err_set(err, MMQ_UNAVAILABLE, "journal '%s': %s", disk->path, sqlite3_errmsg(disk->db.db));
	sqlite3_extended_result_codes(disk->db.db, 0);
	sqlite3_wal_hook(disk->db.db, on_wal, disk);
	if (journal_file_format(&disk->db, options, err) == -1 || journal_file_start(&disk->db, disk->path, info_out, err) == -1)
		return -1;
	disk->has_reserve = access(disk->reserve_path, F_OK) == 0;
	reserve_make(disk);
	return 0;
}

void
journal_disk_close(struct journal_disk *disk)
{
	journal_statements_fini(&disk->db);
	sqlite3_close(disk->db.db);
	if (disk->lock_fd != -1)
		close(disk->lock_fd);
	free(disk->path);
	free(disk->reserve_path);
}
