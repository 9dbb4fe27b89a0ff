/* cache.c: a short list ordered by use. Some dozens of models per process are common, so a walk over the list is quicker
 * than it sounds and needs no table. */
#include "predictor/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "predictor/guard.h"
#include "util/mem.h"

struct mmq_cache {
	struct mmq_store *store;
	size_t bytes_max, bytes, count, loading;
	struct mmq_cached *newest, *oldest;
	void (*on_free)(struct mmq_cached *entry, void *arg);
	void *on_free_arg;
	pthread_t loader;
	pthread_mutex_t lock;                     /* of what follows */
	pthread_cond_t wake;
	struct mmq_cached *jobs, *done;
	bool stopping;
	int fd;
};

struct load {
	struct mmq_cache *cache;
	struct mmq_cached *entry;
};

static void
load(void *arg)
{
	const struct load *load = arg;
	struct mmq_cached *entry = load->entry;
	int fd;

	if (mmq_store_open_model(load->cache->store, entry->tenant, entry->name, entry->version, &fd, &entry->err) == -1)
		return;
	if (mmq_model_open(&entry->model, fd, &entry->err) == -1)
		mmq_err_prefix(&entry->err, "%s version %u", entry->name, entry->version);
	close(fd);
}

/* At the end of the list; the lock is held. */
static void
append(struct mmq_cached **list, struct mmq_cached *entry)
{
	entry->next_job = NULL;
	while (*list != NULL)
		list = &(*list)->next_job;
	*list = entry;
}

static void *
loader_run(void *arg)
{
	struct mmq_cache *cache = arg;

	pthread_mutex_lock(&cache->lock);
	for (;;) {
		while (cache->jobs == NULL && !cache->stopping)
			pthread_cond_wait(&cache->wake, &cache->lock);
		if (cache->stopping)
			break;
		struct mmq_cached *entry = cache->jobs;
		cache->jobs = entry->next_job;
		pthread_mutex_unlock(&cache->lock);
		struct load task = { cache, entry };
		if (!mmq_guard_run(load, &task))
			mmq_err_set(&entry->err, MMQ_DATA_LOSS, "%s version %u: the model file was cut short while it was read", entry->name,
			    entry->version);
		pthread_mutex_lock(&cache->lock);
		append(&cache->done, entry);
		uint64_t one = 1;
		ssize_t ignored = write(cache->fd, &one, sizeof(one));  /* full: the reader is behind and will look anyway */
		(void)ignored;
	}
	pthread_mutex_unlock(&cache->lock);
	return NULL;
}

int
mmq_cache_open(struct mmq_cache **cache_out, struct mmq_store *store, size_t bytes_max, struct mmq_err *err)
{
	struct mmq_cache *cache = mmq_alloc(sizeof(*cache));

	*cache_out = NULL;
	cache->store = store;
	cache->bytes_max = bytes_max;
	cache->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->wake, NULL);
	int why = cache->fd == -1 ? errno : pthread_create(&cache->loader, NULL, loader_run, cache);
	if (why != 0) {
		if (cache->fd != -1)
			close(cache->fd);
		free(cache);
		return mmq_err_set(err, MMQ_UNAVAILABLE, "cache: cannot start the loader: %s", strerror(why));
	}
	*cache_out = cache;
	return 0;
}

static void
unlink_entry(struct mmq_cache *cache, struct mmq_cached *entry)
{
	*(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
	*(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
	entry->newer = entry->older = NULL;
}

static void
make_newest(struct mmq_cache *cache, struct mmq_cached *entry)
{
	entry->older = cache->newest;
	*(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = entry;
	cache->newest = entry;
}

static void
entry_free(struct mmq_cache *cache, struct mmq_cached *entry)
{
	unlink_entry(cache, entry);
	cache->bytes -= entry->bytes;
	cache->count--;
	if (cache->on_free != NULL)
		cache->on_free(entry, cache->on_free_arg);
	mmq_model_destroy(&entry->model);
	free(entry);
}

static void
evict(struct mmq_cache *cache)
{
	struct mmq_cached *entry = cache->oldest;
	while (entry != NULL && cache->bytes > cache->bytes_max) {
		struct mmq_cached *newer = entry->newer;
		if (entry->references == 0 && entry->state == MMQ_CACHED_READY)
			entry_free(cache, entry);
		entry = newer;
	}
}

void
mmq_cache_close(struct mmq_cache **cache_pointer)
{
	struct mmq_cache *cache = *cache_pointer;

	if (cache == NULL)
		return;
	pthread_mutex_lock(&cache->lock);
	cache->stopping = true;
	pthread_cond_signal(&cache->wake);
	pthread_mutex_unlock(&cache->lock);
	pthread_join(cache->loader, NULL);
	while (cache->oldest != NULL)
		entry_free(cache, cache->oldest);
	close(cache->fd);
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->wake);
	free(cache);
	*cache_pointer = NULL;
}

int
mmq_cache_fd(const struct mmq_cache *cache)
{
	return cache->fd;
}

struct mmq_cached *
mmq_cache_collect(struct mmq_cache *cache)
{
	uint64_t count;

	pthread_mutex_lock(&cache->lock);
	struct mmq_cached *entry = cache->done;
	if (entry != NULL)
		cache->done = entry->next_job;
	else {
		ssize_t ignored = read(cache->fd, &count, sizeof(count));  /* not blocking: nothing there is fine too */
		(void)ignored;
	}
	pthread_mutex_unlock(&cache->lock);
	if (entry == NULL)
		return NULL;
	cache->loading--;
	entry->state = entry->model != NULL ? MMQ_CACHED_READY : MMQ_CACHED_FAILED;
	if (entry->state == MMQ_CACHED_READY) {
		entry->bytes = mmq_model_bytes(entry->model);
		cache->bytes += entry->bytes;
		entry->references++;  /* not the one that just came */
		evict(cache);
		entry->references--;
	}
	return entry;
}

struct mmq_cached *
mmq_cache_acquire(struct mmq_cache *cache, const char *tenant, const char *name, uint32_t version)
{
	struct mmq_cached *entry = cache->newest;

	while (entry != NULL && (entry->version != version || strcmp(entry->name, name) != 0 || strcmp(entry->tenant, tenant) != 0))
		entry = entry->older;
	if (entry != NULL) {
		entry->references++;
		if (entry != cache->newest) {
			unlink_entry(cache, entry);
			make_newest(cache, entry);
		}
		return entry;
	}
	entry = mmq_alloc(sizeof(*entry));
	*entry = (struct mmq_cached){ .version = version, .references = 1 };
	snprintf(entry->tenant, sizeof(entry->tenant), "%s", tenant);
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	make_newest(cache, entry);
	cache->count++;
	cache->loading++;
	pthread_mutex_lock(&cache->lock);
	append(&cache->jobs, entry);
	pthread_cond_signal(&cache->wake);
	pthread_mutex_unlock(&cache->lock);
	return entry;
}

void
mmq_cache_release(struct mmq_cache *cache, struct mmq_cached **entry_pointer)
{
	struct mmq_cached *entry = *entry_pointer;

	*entry_pointer = NULL;
	entry->references--;
	if (entry->references > 0 || entry->state == MMQ_CACHED_LOADING)
		return;
	if (entry->state == MMQ_CACHED_FAILED)
		entry_free(cache, entry);
	else
		evict(cache);
}

void
mmq_cache_on_free(struct mmq_cache *cache, void (*on_free)(struct mmq_cached *entry, void *arg), void *arg)
{
	cache->on_free = on_free;
	cache->on_free_arg = arg;
}

bool
mmq_cache_is_loading(const struct mmq_cache *cache)
{
	return cache->loading > 0;
}

struct mmq_cached *
mmq_cache_newest(const struct mmq_cache *cache)
{
	return cache->newest;
}

size_t
mmq_cache_bytes(const struct mmq_cache *cache)
{
	return cache->bytes;
}

size_t
mmq_cache_count(const struct mmq_cache *cache)
{
	return cache->count;
}
