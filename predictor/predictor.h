/* predictor.h: the predict worker: options and what lives as long as the process. */
#ifndef PREDICTOR_PREDICTOR_H
#define PREDICTOR_PREDICTOR_H

#include "daemon/daemon.h"
#include "daemon/place.h"
#include "predictor/batch.h"
#include "predictor/cache.h"
#include "store/store.h"
#include "work/work.h"

struct mmq_predictor {
	/* Options. */
	char *home, *work, *store_path, *name, *key_file, *server_key_file;
	int64_t cache_bytes, batch_rows, window, hang_ms;
	/* Alive between start and stop. */
	struct mmq_place place;
	struct mmq_store *store;
	struct mmq_cache *cache;
	struct mmq_worker *worker;
	struct mmq_batcher batcher;
	bool draining, leaving;
};

extern const struct mmq_daemon mmq_predictor_daemon;

#endif
