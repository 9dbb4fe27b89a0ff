/* tree_case.h: small fits of the tree engine for its tests. */
#ifndef TESTS_ENGINE_TREE_CASE_H
#define TESTS_ENGINE_TREE_CASE_H

#include "engine/engine.h"

enum { TREE_CASE_COLS_MAX = 16 };

struct tree_case {
	struct mmq_dataset data;
	struct mmq_feature features[TREE_CASE_COLS_MAX];
	struct mmq_fit fit;
	float *x;          /* (rows, cols) */
	int32_t *codes;    /* (rows, codes_cols) */
	double *y;
	float *weight;
};

extern const struct mmq_engine mmq_engine_tree;

/* A regression (classes 0), binary (2) or multiclass task of zeros, without weights; codes have this cardinality. */
void tree_case_init(struct tree_case *c, size_t rows, size_t cols, size_t codes_cols, uint32_t cardinality, uint32_t classes);
void tree_case_fini(struct tree_case *c);
/* Train with settings such as "num_leaves=4 min_data_in_leaf=1"; the caller destroys the state. NULL: err. */
void *tree_case_train(struct tree_case *c, const char *settings, struct mmq_err *err);
/* The same, where an error fails the test. */
void *tree_case_train_well(struct tree_case *c, const char *settings);
/* Noisy nonlinear data with missing values and categories, of any task. */
void tree_case_fill(struct tree_case *c, uint64_t seed);
/* Scores (rows, score_cols) and, unless NULL, probabilities (rows, classes) and leaves (rows, leaf_cols) of x; asserts success. */
double *tree_case_score(const void *state, const struct mmq_batch *x, double **probability_out, uint32_t **leaf_out, uint32_t classes);
/* Two states give the rows of c the same scores, to the bit. */
void tree_case_scores_agree(const struct tree_case *c, const void *one, const void *two);
/* Training is refused with INVALID_ARGUMENT that names a parameter. */
void tree_case_is_refused(struct tree_case *c, const char *settings);
/* Value of a describe key that is a number. */
double tree_case_tells(const void *state, const char *key);

/* cmocka's own comparison takes floats. */
#define assert_near(a, b, epsilon) assert_true(fabs((double)(a) - (double)(b)) <= (epsilon))

#endif
