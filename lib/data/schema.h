/* schema.h: what the columns of a table mean: kind, role, and for a model what a request must bring.
 *
 * Inferred from data, overridden by the request's `schema`, frozen in the model and shown on its card. */
#ifndef MMQ_DATA_SCHEMA_H
#define MMQ_DATA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/frame.h"
#include "data/part.h"
#include "util/buf.h"
#include "util/err.h"
#include "mpack/reader.h"

enum mmq_field_kind { MMQ_FIELD_NUMERIC, MMQ_FIELD_CATEGORICAL, MMQ_FIELD_TEXT, MMQ_FIELD_DATETIME, MMQ_FIELD_BOOLEAN, MMQ_FIELD_VECTOR, MMQ_FIELD_IGNORE };
enum mmq_field_role { MMQ_ROLE_FEATURE, MMQ_ROLE_TARGET, MMQ_ROLE_WEIGHT, MMQ_ROLE_ID, MMQ_ROLE_GROUP, MMQ_ROLE_TIME, MMQ_ROLE_SPLIT, MMQ_ROLE_SENSITIVE };

/* What a request's `prepare` says of a column, instead of what its kind and the engine would bring; not kept with a model, which has the outcome. */
enum mmq_scaling { MMQ_SCALING_AUTO, MMQ_SCALING_NONE, MMQ_SCALING_STANDARD };
enum mmq_filling { MMQ_FILLING_MEDIAN, MMQ_FILLING_MEAN, MMQ_FILLING_ZERO };

struct mmq_field {
	char *name;
	enum mmq_field_kind kind;
	enum mmq_field_role role;
	bool required;            /* an absent key in a map row is an error */
	bool kind_is_set;         /* the user said so, or it was inferred: later data is read as this kind */
	uint32_t rank, shape[4];  /* VECTOR */
	size_t width;             /* numbers per row: 1, or the product of shape */
	char **values;            /* categorical: allowed values if the user gave them; else NULL */
	size_t values_count;
	double bound_min, bound_max; /* -INFINITY / INFINITY when not set */
	enum mmq_scaling scaling;
	enum mmq_filling filling;
};

struct mmq_schema {
	struct mmq_field *fields; /* the model's column order */
	size_t fields_count;
	size_t sparse_cols;       /* > 0: features are one sparse block of this width (fields hold the rest) */
	enum mmq_scaling sparse_scaling;
};

void mmq_schema_init(struct mmq_schema *schema);
void mmq_schema_fini(struct mmq_schema *schema);
struct mmq_field *mmq_schema_add(struct mmq_schema *schema, const char *name, enum mmq_field_kind kind, enum mmq_field_role role);
struct mmq_field *mmq_schema_find(const struct mmq_schema *schema, const char *name);  /* NULL: not there */
void mmq_schema_copy(struct mmq_schema *to, const struct mmq_schema *from);

/* Infer kinds from a frame: numbers -> numeric, booleans -> boolean, text -> datetime when every value is an ISO 8601 date or time,
 * else categorical, or text when most values differ and are
 * long; vector columns -> vector. Fields that are already in schema (from the request) keep what was set; the fields take the
 * frame's order. INVALID_ARGUMENT: a field the frame has not, or a set kind that the column cannot have. */
int mmq_schema_infer(struct mmq_schema *schema, const struct mmq_frame *frame, struct mmq_err *err);

/* The request's `schema` map: {column: {kind, role, values, bounds, required, shape}}. INVALID_ARGUMENT names "schema.<column>.<key>". */
int mmq_schema_read(struct mmq_schema *schema, struct mmq_reader *map, struct mmq_err *err);
/* The request's `prepare` map: {column or "*": {scale: auto|none|standard, impute: median|mean|zero}}; "*" is every numeric column and the sparse
 * block, a column's own entry wins. INVALID_ARGUMENT names "prepare.<column>.<key>". */
int mmq_schema_read_prepare(struct mmq_schema *schema, struct mmq_reader *map, struct mmq_err *err);
/* As a msgpack array of maps {name, kind, role, required, shape?, values?, bounds?}: cards and model.get. */
void mmq_schema_write(const struct mmq_schema *schema, struct mmq_buf *out);
/* Into and out of a model file. */
void mmq_schema_save(const struct mmq_schema *schema, struct mmq_part *out);
int mmq_schema_open(struct mmq_schema *schema, const struct mmq_part *in, struct mmq_err *err);

const char *mmq_field_kind_name(enum mmq_field_kind kind);
const char *mmq_field_role_name(enum mmq_field_role role);

#endif
