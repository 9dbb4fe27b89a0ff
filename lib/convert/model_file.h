/* model_file.h: a converted model as a model file of ours, and one of our models as what a writer takes. */
#ifndef MMQ_CONVERT_MODEL_FILE_H
#define MMQ_CONVERT_MODEL_FILE_H

#include "convert/convert.h"
#include "model/model.h"

enum { MMQ_CONVERT_DENSE_MAX = 4096 };   /* unnamed columns up to so many are columns of their own, more are one sparse block */

/* Write the file to fd (empty, at its start). Whether the part is sound is found out by opening the file. DATA_LOSS: names that are no names. */
int mmq_converted_save(const struct mmq_converted *converted, int fd, struct mmq_err *err);

/* converted: initialised; finish it in any case. FAILED_PRECONDITION naming the column whose preparation no file of another library can hold. */
int mmq_converted_of_model(struct mmq_converted *converted, const struct mmq_model *model, struct mmq_err *err);

#endif
