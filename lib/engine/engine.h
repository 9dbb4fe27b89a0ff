/* engine.h: the one contract between modelmq and a learning algorithm.
 *
 * An engine file exports exactly one `const struct mmq_engine mmq_engine_<name>`, listed in registry.c. Engines are pure: no
 * logging, clock, files, globals or rand(); data, seed, progress and threads come in as arguments. They return scores, and
 * probabilities only where native; labels, thresholds, calibration and undoing a scaled target live in lib/model.
 *
 * Scores: regression (rows, 1) the value (in the target's prepared units); binary (rows, 1), > 0 means class 1; multiclass
 * (rows, classes), or for svm (rows, classes*(classes-1)/2) pairwise values in the order (0,1) (0,2) .. (1,2) ..,
 * > 0 means the first of the pair. Probability: (rows, classes), also for binary.
 * Same data, parameters, seed and CPU path give the same bits, for any number of threads. */
#ifndef MMQ_ENGINE_ENGINE_H
#define MMQ_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/param.h"
#include "data/part.h"
#include "engine/progress.h"
#include "math/pool.h"
#include "util/err.h"

enum { MMQ_ENGINE_ABI = 1 };

enum mmq_task { MMQ_TASK_NONE = 0, MMQ_REGRESSION = 1, MMQ_BINARY = 2, MMQ_MULTICLASS = 4,
	MMQ_ONE_CLASS = 8 };     /* no target: y is NULL, classes 0; one score, > 0 means inside */
enum mmq_kind { MMQ_NUMERIC, MMQ_CATEGORY, MMQ_VECTOR };
enum mmq_accepts {       /* what an engine's data may look like, and what it wants preparation to do */
	MMQ_ACCEPTS_MISSING = 1, MMQ_ACCEPTS_CATEGORY = 2, MMQ_ACCEPTS_SPARSE = 4, MMQ_ACCEPTS_VECTOR = 8, MMQ_ACCEPTS_F64 = 16,
	MMQ_WANTS_SCALED = 32, MMQ_WANTS_ONE_HOT = 64, MMQ_WANTS_TARGET_SCALED = 128,
};
enum mmq_output { MMQ_OUT_SCORE = 1, MMQ_OUT_PROBABILITY = 2, MMQ_OUT_CONTRIBUTION = 4, MMQ_OUT_LEAF = 8, MMQ_OUT_INTERVAL = 16,
	MMQ_OUT_PAIRWISE = 32,   /* not to be wanted: says that multiclass scores are pairwise */
};
enum mmq_can { MMQ_CAN_WEIGHTS = 1, MMQ_CAN_WARM_START = 2, MMQ_CAN_CHECKPOINT = 4, MMQ_CAN_MULTI_OUTPUT = 8 };

struct mmq_feature {
	const char *name;        /* borrowed; for describe and contributions */
	enum mmq_kind kind;
	uint32_t cardinality;    /* CATEGORY: codes are 0..cardinality-1 */
	uint32_t rank, shape[4]; /* VECTOR: images are HWC */
	uint32_t source;         /* index of the input column it came from */
};

/* Rows of prepared features. Dense and codes are side by side: dense has one column per NUMERIC feature (in feature order,
 * a VECTOR takes the product of its shape), codes one per CATEGORY feature (in feature order). With CSR set
 * (row_start != NULL) dense is NULL and cols is the width of the sparse matrix. */
struct mmq_batch {
	size_t rows, cols;         /* cols: dense or sparse columns, without codes */
	enum mmq_dtype dtype;      /* MMQ_F32 or MMQ_F64, of dense or value; NaN = missing (only if the engine accepts it) */
	const void *dense;         /* (rows, cols), row-major, each row `stride` elements apart; NULL when cols == 0 or CSR */
	size_t stride;
	const int32_t *codes;      /* (rows, codes_cols); -1 = missing, -2 = unseen */
	size_t codes_cols;
	const uint64_t *row_start; /* CSR: rows + 1 offsets into col and value; absent = 0, never missing */
	const uint32_t *col;       /* ascending within a row */
	const void *value;
};

struct mmq_dataset {
	struct mmq_batch x;
	const struct mmq_feature *features;
	size_t features_count;
	const double *y;           /* (rows): class codes 0..classes-1, or the prepared target */
	uint32_t classes;          /* 0 for regression */
	const float *weight;       /* (rows) > 0, class weights multiplied in; NULL: all 1 */
	const uint64_t *row_id;    /* lineage hash per row; NULL: none */
};

/* Where a fit leaves what it needs to go on after a kill. Called from the thread that trains, between two steps of its loop. */
struct mmq_checkpoint {
	bool (*is_due)(void *arg);                /* asked often; cheap */
	void (*write)(void *arg, const struct mmq_part *part);
	void *arg;
};

struct mmq_fit {
	const struct mmq_dataset *train, *valid;  /* valid may be NULL; never the test rows */
	enum mmq_task task;
	const struct mmq_params *params;
	uint64_t seed;
	struct mmq_pool *pool;                    /* NULL: this thread alone */
	size_t memory_bytes_max;                  /* 0: no limit */
	const struct mmq_progress *progress;      /* NULL: nobody listens */
	const struct mmq_checkpoint *checkpoint;  /* NULL: none wanted; only engines with MMQ_CAN_CHECKPOINT use it */
	const void *previous;                     /* warm start: a state of this engine, trained on the same features and classes, to go on from;
	                                           * borrowed until train returns. Only engines with MMQ_CAN_WARM_START get one. NULL: from the start */
	const struct mmq_part *resume;            /* what such an engine wrote on the same data, parameters and seed: the end is the same to the bit as of a
	                                           * fit that was not disturbed. A part that does not fit is passed over. NULL: from the start */
};

struct mmq_outputs {
	unsigned wanted;           /* OR of enum mmq_output; only these arrays are written */
	double *score;             /* (rows, score_cols) */
	size_t score_cols;         /* set by the caller from engine->score_cols() */
	double *probability;       /* (rows, classes) */
	double *contribution;      /* (rows, score_cols, features_count): of the score, by prepared feature in the order of the batch: NUMERIC and VECTOR ones,
	                            * then CATEGORY ones; model.c sums to input columns */
	double *contribution_error; /* as contribution, or NULL: half width of the 95 % interval of a sampled contribution; exact methods write 0 */
	double *base;              /* (score_cols) what contributions add up from */
	uint32_t *leaf;            /* (rows, leaf_cols) */
	size_t leaf_cols;
};

/* What a state was trained on: an opened file is held against the preparation and classes that came with it. */
struct mmq_state_shape {
	size_t cols, codes_cols;   /* of its batches */
	uint32_t classes;          /* 0 for regression */
	size_t features;           /* of its contributions; 0: it gives none */
};

struct mmq_engine {
	unsigned abi;                    /* MMQ_ENGINE_ABI */
	const char *name, *summary;      /* wire name, never renamed; one line for describe and help */
	unsigned tasks, accepts, outputs, can;
	const struct mmq_param *params;  /* ends with name == NULL */

	/* (Optional) What preparation is to do when these parameters change it; NULL: `accepts`. A subset of accepts. */
	unsigned (*accepts_with)(const struct mmq_params *params);
	/* (Optional) Say why this data cannot be fitted, before any work. */
	int (*check)(const struct mmq_fit *fit, struct mmq_err *err);
	/* Fit. On 0 *state_out is the caller's; on -1 it is NULL and err says why (CANCELLED when progress said stop). */
	int (*train)(void **state_out, const struct mmq_fit *fit, struct mmq_err *err);
	/* Write everything predict needs into out (which owns copies). */
	int (*save)(const void *state, struct mmq_part *out, struct mmq_err *err);
	/* Borrows in's tensors and texts until destroy. Checks every count and index: the bytes are not to be trusted. */
	int (*open)(void **state_out, const struct mmq_part *in, struct mmq_err *err);
	/* Columns of score (and of leaf, 0 if none) that this model gives. */
	size_t (*score_cols)(const void *state);
	size_t (*leaf_cols)(const void *state);            /* (Optional) */
	void (*shape)(const void *state, struct mmq_state_shape *shape_out);
	/* (Optional) Which of `outputs` this state gives, when it may lack some (svm without probability); NULL: all of them. */
	unsigned (*gives)(const void *state);
	/* (Optional) How this state's contributions are made: "linear", "treeshap", ...; NULL when it gives none. A name that begins with
	 * "sampled" says that contribution_error is filled too. */
	const char *(*contribution_method)(const void *state);
	/* Scratch that predict needs for up to rows_max rows; 0 is fine. */
	size_t (*scratch_bytes)(const void *state, size_t rows_max, unsigned wanted);
	/* x as trained. scratch is 64-byte aligned. No allocation. Safe from many threads at once, each with its own scratch.
	 * One row and a batch of rows give the same answer to 1e-12 relative (or to the bit). */
	int (*predict)(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err);
	/* What a user may know: sizes, iterations, coefficients or importances, final loss, warnings ("warning" texts). */
	int (*describe)(const void *state, struct mmq_part *out, struct mmq_err *err);
	void (*destroy)(void **state);                     /* *state may be NULL; it is NULL afterwards */
};

/* registry.c */
const struct mmq_engine *mmq_engine_find(const char *name);     /* NULL: unknown */
const struct mmq_engine *const *mmq_engine_list(void);          /* ends with NULL */
const char *mmq_task_name(enum mmq_task task);                  /* "regression", "binary", "multiclass", "one_class" */

#endif
