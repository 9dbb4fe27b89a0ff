/* store.h: models as plain files that are complete or absent.
 *
 *   STORE/FORMAT                                        "modelmq-store 1"
 *   STORE/models/<tenant>/<model>/versions/000042/      model.mmq, card.json: both 0444, never rewritten
 *   STORE/models/<tenant>/<model>/aliases/000007.json   the highest generation holds
 *   STORE/jobs/<tenant>/<job>/                          checkpoint.mmq of a running training
 *   STORE/tmp/<job>-<fence>/                            a publish under way
 *
 * Publishing writes in tmp, fsyncs, renames: rename and link(2) decide all races, readers take no lock. Every path is walked from the
 * store's own descriptor with O_NOFOLLOW. A delete hides the version first; its bytes go at the next clean after a grace
 * period, since predictors may have them mapped. The store does not know what a model file holds.
 * A struct mmq_store may be used by any number of threads. */
#ifndef MMQ_STORE_STORE_H
#define MMQ_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/name.h"

enum { MMQ_STORE_FORMAT = 1, MMQ_STORE_CARD_BYTES_MAX = 64 << 20, MMQ_STORE_ALIASES_MAX = 64, MMQ_STORE_VERSION_MAX = 999999 };

/* The calls that change the disk, so that tests can let each one fail or kill the process there. */
struct mmq_disk {
	ssize_t (*write)(int fd, const void *bytes, size_t size);
	int (*fsync)(int fd);
	int (*mkdirat)(int dir, const char *name, mode_t mode);
	int (*renameat)(int from_dir, const char *from, int to_dir, const char *to);
	int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
	int (*unlinkat)(int dir, const char *name, int flags);
};

struct mmq_store;

/* Open the store at path; with create an empty or absent folder becomes one. disk NULL: the system's calls.
 * FAILED_PRECONDITION: not a store, or a newer format. UNAVAILABLE: not readable or writable. */
int mmq_store_open(struct mmq_store **store_out, const char *path, bool create, const struct mmq_disk *disk, struct mmq_err *err);
void mmq_store_close(struct mmq_store **store);

/* Remove what interrupted publishes left in tmp (running ones hold a lock and stay) and what was deleted longer than grace_ms ago. */
int mmq_store_clean(struct mmq_store *store, int64_t grace_ms, struct mmq_err *err);

struct mmq_publish {
	const char *tenant, *model;
	const char *job;                   /* as in the card's "job": decides whether a version that is there is this job's */
	uint64_t fence;
	uint32_t version;                  /* from GRANT */
	int (*write_model)(void *arg, int fd, struct mmq_err *err);
	void *arg;
	const void *card;                  /* JSON text with a "job" member */
	size_t card_bytes;
};

/* Publish one version. 0: it is there and durable, written now or (*was_there_out) by an earlier attempt of the same job.
 * ALREADY_EXISTS: the number belongs to another job, ask GRANT above it. RESOURCE_EXHAUSTED: disk full. UNAVAILABLE: other I/O. */
int mmq_store_publish(struct mmq_store *store, const struct mmq_publish *publish, bool *was_there_out, struct mmq_err *err);

/* *fd_out: the model file, a regular file with one link. NOT_FOUND, DATA_LOSS (something else stands in its place). */
int mmq_store_open_model(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, int *fd_out, struct mmq_err *err);
int mmq_store_read_card(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, struct mmq_buf *card_out, struct mmq_err *err);

/* The state of a running training, so that another attempt goes on from it: one file per job, replaced at once. */
enum { MMQ_STORE_CHECKPOINT_KEPT_S = 7 * 86400 };   /* of a job that never ended; then clean removes it */
int mmq_store_write_checkpoint(struct mmq_store *store, const char *tenant, const char *job, int (*write_file)(void *arg, int fd, struct mmq_err *err),
    void *arg, struct mmq_err *err);
int mmq_store_open_checkpoint(struct mmq_store *store, const char *tenant, const char *job, int *fd_out, struct mmq_err *err);   /* NOT_FOUND */
void mmq_store_drop_checkpoint(struct mmq_store *store, const char *tenant, const char *job);

/* Ascending; *versions_out is the caller's to free(). No such model: 0 versions. */
int mmq_store_versions(struct mmq_store *store, const char *tenant, const char *model, uint32_t **versions_out, size_t *count_out, struct mmq_err *err);
/* Each model of the store, in the order of the file system. visit returns -1 to stop (err filled). */
int mmq_store_visit(struct mmq_store *store, int (*visit)(void *arg, const char *tenant, const char *model, struct mmq_err *err), void *arg,
    struct mmq_err *err);
/* Hide a version (FAILED_PRECONDITION while an alias points to it), or with version 0 the whole model. NOT_FOUND. */
int mmq_store_delete(struct mmq_store *store, const char *tenant, const char *model, uint32_t version, struct mmq_err *err);

struct mmq_store_alias {
	char name[MMQ_NAME_MAX + 1];
	uint32_t version;
	char since[32], by[MMQ_NAME_MAX + 1];
};
struct mmq_store_aliases {
	uint32_t generation;               /* 0: none were ever set */
	size_t count;
	struct mmq_store_alias items[MMQ_STORE_ALIASES_MAX];
};

/* Where an alias points; 0: there is no such alias. */
uint32_t mmq_store_alias_version(const struct mmq_store_aliases *aliases, const char *name);
/* The aliases that hold now. */
int mmq_store_aliases(struct mmq_store *store, const char *tenant, const char *model, struct mmq_store_aliases *aliases_out, struct mmq_err *err);

struct mmq_alias_change {
	const char *tenant, *model, *name;
	uint32_t version;                  /* 0: remove the alias */
	const char *by;                    /* who: a job or a client's id */
	int64_t expect;                    /* the generation that the caller saw; -1: any */
	uint32_t generation;               /* the new one, from GRANT; above the current */
};
/* Set or remove one alias; the others stay. ALREADY_EXISTS: another generation holds than expected (err->field "expect"), or
 * somebody took this generation. NOT_FOUND: no such version. The same change again at its own generation is done. */
int mmq_store_set_alias(struct mmq_store *store, const struct mmq_alias_change *change, struct mmq_err *err);

#endif
