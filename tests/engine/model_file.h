/* model_file.h: the kept files of tests/data/models. */
#ifndef TESTS_ENGINE_MODEL_FILE_H
#define TESTS_ENGINE_MODEL_FILE_H

#include <stddef.h>

/* The bytes of tests/data/models/NAME and a zero after them; free() it. What fails, fails the test. */
char *model_file_read(const char *name, size_t *size_out);

#endif
