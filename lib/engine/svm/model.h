/* model.h: a fitted support vector machine, shared by training, prediction and the model file. */
#ifndef MMQ_ENGINE_SVM_MODEL_H
#define MMQ_ENGINE_SVM_MODEL_H

#include "engine/engine.h"
#include "engine/svm/kernel.h"

/* Support vectors are grouped by class. Coefficients as in LIBSVM's model: with several classes a vector of class c takes part in
 * classes - 1 pairs; in the pair with class d its coefficient stands in row d - (d > c). Otherwise there is one row. */
struct svm_model {
	enum mmq_task task;
	struct svm_kernel kernel;
	uint32_t classes;             /* 2 for binary, 0 for regression */
	size_t pairs, coef_rows;
	struct svm_rows vectors;
	size_t vectors_count;
	uint32_t *class_start;        /* (classes + 1) first vector of each class; multiclass only */
	const double *coef;           /* (coef_rows, vectors_count) */
	const double *rho;            /* (pairs) */
	const double *sigmoid;        /* (pairs, 2) a and b of platt.h; NULL: no probability */
	double *owned;                /* coef, rho and sigmoid of a model that was trained here; NULL: borrowed from a part */
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
size_t svm_scratch_bytes(const void *state, size_t rows_max, unsigned wanted);
int svm_predict(const void *state, const struct mmq_batch *x, struct mmq_outputs *out, void *scratch, struct mmq_err *err);
int svm_describe(const void *state, struct mmq_part *out, struct mmq_err *err);
void svm_destroy(void **state);

#endif
