/* limits.h: how much one data source may hold. Past a limit: RESOURCE_EXHAUSTED naming it, before memory is taken. */
#ifndef MMQ_DATA_LIMITS_H
#define MMQ_DATA_LIMITS_H

#include <stddef.h>

struct mmq_data_limits {
	size_t rows_max, cols_max;   /* rows are also indexed with 32 bits */
	size_t cell_bytes_max;       /* one text */
	size_t values_max;           /* rows * columns, counting each number of a vector */
	size_t bytes_max;            /* of a file, after unpacking */
};

#define MMQ_DATA_LIMITS_DEFAULT \
	((struct mmq_data_limits){ .rows_max = 100000000, .cols_max = 100000, .cell_bytes_max = 1 << 20, .values_max = 1 << 29, .bytes_max = (size_t)4 << 30 })

#endif
