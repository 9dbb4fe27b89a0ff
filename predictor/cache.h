/* cache.h: mapped models by (tenant, model, version), opened and checked by a thread of their own.
 *
 * The owner's thread does everything but opening; the loader thread touches an entry only while it is LOADING. Entries that
 * nobody holds are kept, least recently used first out, within a budget of mapped bytes. */
#ifndef PREDICTOR_CACHE_H
#define PREDICTOR_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/model.h"
#include "store/store.h"

enum mmq_cached_state { MMQ_CACHED_LOADING, MMQ_CACHED_READY, MMQ_CACHED_FAILED };

struct mmq_cached {
	char tenant[MMQ_NAME_MAX + 1], name[MMQ_NAME_MAX + 1];
	uint32_t version;
	enum mmq_cached_state state;
	struct mmq_model *model;       /* READY */
	struct mmq_err err;            /* FAILED */
	size_t bytes;                  /* of the mapped file, at least 1 when READY */
	unsigned references;
	bool announce;                 /* tell the broker when it is ready */
	struct mmq_cached *newer, *older;
	struct mmq_cached *next_job;   /* the loader's list */
	void *user;                    /* the owner's; NULL at first */
};

struct mmq_cache;

/* bytes_max: budget of mapped files; one model larger than it is still served, alone. Borrows store until close. */
int mmq_cache_open(struct mmq_cache **cache_out, struct mmq_store *store, size_t bytes_max, struct mmq_err *err);
void mmq_cache_close(struct mmq_cache **cache);          /* waits for the loader; nothing may be held */

int mmq_cache_fd(const struct mmq_cache *cache);         /* readable when a load has ended */
struct mmq_cached *mmq_cache_collect(struct mmq_cache *cache); /* the next one whose load has ended: READY or FAILED; NULL: none */

/* Hold an entry; a new one begins to load. release lets go: a FAILED entry nobody holds is forgotten, so the next use tries anew. */
struct mmq_cached *mmq_cache_acquire(struct mmq_cache *cache, const char *tenant, const char *name, uint32_t version);
void mmq_cache_release(struct mmq_cache *cache, struct mmq_cached **entry);

/* Called before an entry is freed, so that the owner can free entry->user. */
void mmq_cache_on_free(struct mmq_cache *cache, void (*on_free)(struct mmq_cached *entry, void *arg), void *arg);

bool mmq_cache_is_loading(const struct mmq_cache *cache);  /* a load was begun whose end was not collected yet */
struct mmq_cached *mmq_cache_newest(const struct mmq_cache *cache);  /* the list goes on by ->older; NULL: empty */
size_t mmq_cache_bytes(const struct mmq_cache *cache);
size_t mmq_cache_count(const struct mmq_cache *cache);

#endif
