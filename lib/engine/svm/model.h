/* model.h: a fitted support vector machine, shared by training, prediction and the model file. */
#ifndef MMQ_ENGINE_SVM_MODEL_H
#define MMQ_ENGINE_SVM_MODEL_H

#include "engine/engine.h"
#include "engine/svm/rows.h"

/* Support vectors are grouped by class. Coefficients as in LIBSVM's model: with several classes a vector of class c takes part in
 * classes - 1 pairs; in the pair with class d its coefficient stands in row d - (d > c). Otherwise there is one row. */
struct svm_model {
	enum mmq_task task;
	bool is_nu;                   /* nu-SVC or nu-SVR: for LIBSVM's model file; scores are made the same way */
	struct svm_kernel kernel;
	uint32_t classes;             /* 2 for binary, 0 for regression and one-class */
	size_t pairs, coef_rows;
	struct svm_rows vectors;
	uint32_t *class_start;        /* (classes + 1) first vector of each class; multiclass only */
	const double *coef;           /* (coef_rows, vectors.count) */
	const double *rho;            /* (pairs) */
	const double *sigmoid;        /* (pairs, 2) a and b of platt.h; NULL: no probability */
	double *owned;                /* coef, rho and sigmoid of a model that was trained here; NULL: borrowed from a part */
	double *weights;              /* (pairs, cols) of a linear kernel: the vectors added up; NULL: not linear, or not worth it */
	double sigma;                 /* regression: scale of a Laplace distribution of the errors, from LIBSVM; 0: not known */

	/* Explanations: the point they start from, and which feature a column belongs to. */
	size_t features;              /* 0: none can be made */
	double *origin;               /* (cols) training means; zeros for a sparse model */
	uint32_t *feature_start;      /* (features + 1) first column of each feature */
	uint64_t seed;

	double objective, gap_max;
	int64_t iterations;
	size_t not_converged;         /* pairs that hit max_iter */
};

extern const struct mmq_engine mmq_engine_svm;
extern const struct mmq_param svm_params[];

int svm_check(const struct mmq_fit *fit, struct mmq_err *err);
int svm_train(void **state_out, const struct mmq_fit *fit, struct mmq_err *err);
int svm_save(const void *state, struct mmq_part *out, struct mmq_err *err);
int svm_open(void **state_out, const struct mmq_part *in, struct mmq_err *err);
size_t svm_score_cols(const void *state);
void svm_shape(const void *state, struct mmq_state_shape *shape_out);
unsigned svm_gives(const void *state);
const char *svm_contribution_method(const void *state);
size_t svm_scratch_bytes(const void *state, size_t rows_max, unsigned wanted);
int svm_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err);
int svm_describe(const void *state, struct mmq_part *out, struct mmq_err *err);
void svm_destroy(void **state);

/* What follows from the vectors of a model that is otherwise complete: the weights of a linear kernel. */
void svm_model_derive(struct svm_model *model);
/* values: kernel values (vectors.panels * SVM_PANEL; float, or double when wide) of one row -> score_out (pairs). */
void svm_model_score(const struct svm_model *model, const void *values, double *score_out);

/* explain.c. contribution and error (pairs, features); error may be NULL. score: of this row. scratch: svm_explain_bytes, 64-byte aligned. */
size_t svm_explain_bytes(const struct svm_model *model);
void svm_explain_row(const struct svm_model *model, const struct mmq_batch *x, size_t row, const double *score, const double *base,
    double *contribution, double *error, void *scratch);
void svm_explain_base(const struct svm_model *model, double *base_out, void *scratch);

#endif
