/* prepare_case.c: see prepare_case.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/csv.h"
#include "data/source.h"
#include "tests/unit/prepare_case.h"

const char prepare_table[] =
    "size,color,flag,when,y\n"
    "1,red,true,2024-02-29T23:30,a\n"
    ",blue,false,2024-03-01,b\n"
    "4,red,,2024-12-31T01:00:00Z,a\n"
    "2.5,,true,2025-01-01,b\n"
    "10,green,false,2024-02-29,a\n";

void
prepare_read(struct prepare_case *f, const char *csv, const char *target)
{
	memset(f, 0, sizeof(*f));
	mmq_frame_init(&f->frame);
	mmq_buf_init(&f->warnings, 1 << 16);
	mmq_schema_init(&f->schema);
	struct mmq_csv_options options = { .limits = MMQ_DATA_LIMITS_DEFAULT };
	assert_int_equal(mmq_csv_read(&f->frame, csv, strlen(csv), "test", &options, &f->err), 0);
	assert_int_equal(mmq_schema_infer(&f->schema, &f->frame, &f->err), 0);
	if (target != NULL)
		mmq_schema_find(&f->schema, target)->role = MMQ_ROLE_TARGET;
}

void
prepare_open(struct prepare_case *f, char *file, const char *target)
{
	const char *folder = "examples/data";
	struct mmq_source source;

	memset(f, 0, sizeof(*f));
	mmq_frame_init(&f->frame);
	mmq_buf_init(&f->warnings, 1 << 16);
	mmq_schema_init(&f->schema);
	mmq_source_init(&source);
	source.file = file;
	assert_int_equal(mmq_source_open(&f->frame, &source, &folder, 1, NULL, &f->err), 0);
	assert_int_equal(mmq_schema_infer(&f->schema, &f->frame, &f->err), 0);
	mmq_schema_find(&f->schema, target)->role = MMQ_ROLE_TARGET;
}

void
prepare_fini(struct prepare_case *f)
{
	mmq_prepared_fini(&f->out);
	mmq_prepare_destroy(&f->prepare);
	mmq_schema_fini(&f->schema);
	mmq_frame_fini(&f->frame);
	mmq_buf_fini(&f->warnings);
}

void
prepare_fit_apply(struct prepare_case *f, unsigned accepts, enum mmq_dtype dtype)
{
	if (mmq_prepare_fit(&f->prepare, &f->schema, &f->frame, NULL, f->frame.rows, accepts, dtype, &f->warnings, &f->err) == -1)
		fail_msg("%s", f->err.message);
	if (mmq_prepare_apply(f->prepare, &f->frame, NULL, f->frame.rows, &f->out, NULL, &f->err) == -1)
		fail_msg("%s", f->err.message);
}
