/* convert.h: models of other libraries into ours and back. One row of a table per format: what the file looks like, its reader, its writer.
 *
 * A reader turns bytes into the part that an engine opens, and into what only the file knows: names, categories, classes. A writer
 * gets the same of one of our models. Both only compute: no files, no clock, nothing kept. Bytes are not to be trusted. */
#ifndef MMQ_CONVERT_CONVERT_H
#define MMQ_CONVERT_CONVERT_H

#include "data/target.h"
#include "engine/engine.h"
#include "util/buf.h"

enum { MMQ_CONVERT_BYTES_MAX = 1 << 30 };

struct mmq_converted {
	const char *engine;          /* "tree", "svm", "linear": whose part this is */
	struct mmq_part part;        /* for that engine's open() */
	enum mmq_task task;
	struct mmq_classes classes;  /* in the file's order; count 0: regression and one-class */
	uint32_t positive;           /* binary: index of the class that code 1 stands for */
	enum mmq_dtype dtype;        /* F32 or F64: numbers are rounded to it before the engine sees them */
	size_t features_count;       /* columns of a row, in the order in which requests bring them */
	char **names;                /* (features_count); NULL: numbered from 1 */
	bool *is_category;           /* (features_count); NULL: all are numbers */
	char ***values;              /* (features_count), each (values_count): text of code 0..; an entry NULL: the codes are the values, 0 .. values_count - 1 */
	size_t *values_count;

	/* For writers; readers leave them. What happens to a number before the engine sees it: (x - center) * scale; NULL: nothing. A value
	 * of a regression is target_mean + target_scale * score. A writer that cannot say this in its format refuses. */
	double *center, *scale;      /* (features_count) */
	double target_mean, target_scale;
};
void mmq_converted_init(struct mmq_converted *converted);
void mmq_converted_fini(struct mmq_converted *converted);
bool mmq_converted_is_scaled(const struct mmq_converted *converted);    /* does a number change before the engine sees it? */

struct mmq_converter {
	const char *name, *library;  /* "lightgbm", "LightGBM"; the name goes over the wire */
	const char *engine;          /* whose models it reads and writes */
	bool (*is_it)(const uint8_t *bytes, size_t size);   /* a look at the beginning */
	/* converted: initialised by the caller, who finishes it in any case. FAILED_PRECONDITION: what this reader does not take; DATA_LOSS: damaged, with
	 * the place; RESOURCE_EXHAUSTED: a limit. */
	int (*read)(struct mmq_converted *converted, const uint8_t *bytes, size_t size, struct mmq_err *err);
	/* (Optional) FAILED_PRECONDITION: this model cannot be said in the format, and why. */
	int (*write)(const struct mmq_converted *converted, struct mmq_buf *out, struct mmq_err *err);
};
const struct mmq_converter *mmq_converter_list(size_t *count_out);
const struct mmq_converter *mmq_converter_find(const char *name, size_t size);       /* NULL: unknown */
int mmq_converter_refuse(const char *name, size_t size, struct mmq_err *err);          /* INVALID_ARGUMENT: no such format, these are. Always -1 */
/* By content. INVALID_ARGUMENT: none knows it. */
const struct mmq_converter *mmq_converter_recognise(const uint8_t *bytes, size_t size, struct mmq_err *err);
/* The writer for an engine's models. NULL: there is none. */
const struct mmq_converter *mmq_converter_of_engine(const char *engine);

#endif
