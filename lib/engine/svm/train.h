/* train.h: what the files of a fit share: the whole fit, and one dual problem of it. */
#ifndef MMQ_ENGINE_SVM_TRAIN_H
#define MMQ_ENGINE_SVM_TRAIN_H

#include <stdatomic.h>

#include "engine/svm/model.h"
#include "engine/svm/solver.h"

/* One dual problem and what came out of it. */
struct svm_pair {
	uint32_t first, second;       /* classes: +1 and -1; unused without classes */
	size_t pieces, piece[SVM_PIECES];
	double rho, objective, gap;
	int64_t iterations;
	bool converged, wants_wide;   /* wants_wide: single precision was not enough */
	double *signed_alpha;         /* (rows of its pieces) y a, summed over a row's variables; NULL: no problem to solve */
	double sigmoid[2];            /* a, b of platt.h, with probability */
};

struct svm_training {
	const struct mmq_fit *fit;
	struct svm_kernel kernel;
	struct svm_form form;
	uint32_t *order;              /* (places) row of the training set; SVM_NO_ROW: padding. Sorted by class with several classes */
	size_t *segment_start;        /* (segments + 1) */
	size_t segments;
	struct svm_rowset set;
	double c, epsilon, nu, tol;
	bool is_nu, with_probability, may_widen;  /* may_widen: in single precision so far, and free to choose */
	int64_t iterations_max;
	size_t cache_bytes;
	struct mmq_pool *row_pool;    /* threads for the kernel rows of a single problem */
	struct svm_rowcache **caches; /* one with a lane for each thread, or one a thread when it cannot be shared */
	size_t caches_count;
	struct svm_pair *pairs;
	size_t pairs_count;
	double *previous;             /* (pairs, places) signed alpha of the model to go on from, by place; NULL: none */
	double gap_first;
	atomic_size_t pairs_done;
	atomic_bool cancelled;
};

/* problem.c: the numbers of one dual problem. Arrays are owned. */
struct svm_case {
	struct svm_problem problem;
	int8_t *y;
	double *offset, *upper;
	double sums[2];               /* of a of each sign, which the nu forms and one-class hold */
};
void svm_case_init(struct svm_case *one, struct svm_training *training, const struct svm_pair *pair, struct svm_rowcache *cache);
void svm_case_fini(struct svm_case *one);
size_t svm_case_place(const struct svm_training *training, const struct svm_pair *pair, size_t row);  /* of a row of the problem */
/* Sums that the constraints want for these upper bounds; false: they cannot be met (nu too large). */
bool svm_case_sums(const struct svm_training *training, const struct svm_case *one, double sums_out[2]);
void svm_case_start(const struct svm_case *one, double *alpha);   /* (variables) the usual first point */
/* scale that the nu form divides alpha, rho and scores by; 1 for the others */
double svm_case_scale(const struct svm_training *training, const struct svm_solution *solution);

/* Solve a pair, with its probability when wanted: in the precision of the training's set. */
void svm_pair_solve(struct svm_training *training, struct svm_pair *pair, struct svm_rowcache *cache, size_t lane);
/* Platt's sigmoid from the scores of rows that a five-fold solution has not seen; the folds come from the seed. */
void svm_pair_calibrate(struct svm_training *training, struct svm_pair *pair, const struct svm_case *one, const struct svm_solution *whole);
/* Largest error of f in single precision, over a few rows, against double. */
double svm_pair_drift(const struct svm_training *training, const struct svm_pair *pair, const struct svm_case *one, const struct svm_solution *solution);

/* warm.c: rows of this training set that are vectors of a model trained before; NULL when there are none. */
double *svm_previous(const struct svm_training *training, const struct svm_model *model);

/* assemble.c: all pairs' vectors in one list by class, each row once, with its coefficients. */
struct svm_model *svm_assemble(const struct svm_training *training);

#endif
