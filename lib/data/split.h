/* split.h: which rows are fitted, which decide when to stop, which judge. Deterministic in (spec, data, seed). */
#ifndef MMQ_DATA_SPLIT_H
#define MMQ_DATA_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "mpack/reader.h"
#include "util/buf.h"
#include "util/err.h"

enum mmq_split_kind { MMQ_SPLIT_RANDOM, MMQ_SPLIT_HEAD, MMQ_SPLIT_MODULO, MMQ_SPLIT_COLUMN, MMQ_SPLIT_FOLDS };
enum { MMQ_SPLIT_COLUMN_MAX = 127, MMQ_SPLIT_FOLDS_MAX = 100 };

struct mmq_split_spec {
	enum mmq_split_kind kind;
	uint64_t seed;
	bool valid_is_set;     /* the request said how large valid is; else nobody may need it */
	double valid, test;    /* shares of all rows, >= 0, sum < 1. COLUMN: only valid is used, and only if no row says "valid" */
	size_t head_rows;      /* HEAD: the first so many rows are not test; 0: from test */
	size_t modulo;         /* MODULO: row i is test when i % modulo == modulo - 1; 0: round(1 / test) */
	char column[MMQ_SPLIT_COLUMN_MAX + 1]; /* COLUMN: its texts are train, valid, test */
	uint32_t folds;        /* FOLDS: how many; test is one of them */
	bool refit;
};
/* random, valid 0.1, test 0.2, seed 0. */
#define MMQ_SPLIT_DEFAULT ((struct mmq_split_spec){ .kind = MMQ_SPLIT_RANDOM, .valid = 0.1, .test = 0.2, .folds = 5 })

struct mmq_split {
	uint32_t *rows;                        /* owned: the three lists behind one another */
	const uint32_t *train, *valid, *test;  /* ascending row indices */
	size_t train_count, valid_count, test_count;
};

/* The request's {kind, seed, valid, test, refit, rows (head), modulo, column, folds}: what is absent keeps its value in spec.
 * INVALID_ARGUMENT names "split.<key>". */
int mmq_split_read(struct mmq_split_spec *spec, struct mmq_reader *map, struct mmq_err *err);
void mmq_split_write(const struct mmq_split_spec *spec, struct mmq_buf *out);  /* the same map, for the card */
const char *mmq_split_kind_name(enum mmq_split_kind kind);

/* codes (rows): class codes 0..classes-1 for stratified RANDOM and FOLDS; NULL: not stratified. frame is used by COLUMN only. fold: which
 * fold is the test part (FOLDS). RANDOM, FOLDS take valid at random, HEAD the last of the head, MODULO spreads it evenly. -1 when train would be empty. */
int mmq_split_make(struct mmq_split *out, const struct mmq_split_spec *spec, const struct mmq_frame *frame, size_t rows, const double *codes,
    uint32_t classes, uint32_t fold, struct mmq_err *err);
void mmq_split_fini(struct mmq_split *split);

#endif
