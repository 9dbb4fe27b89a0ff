/* layout.h: paths below the store's descriptor, and small files; shared by the store's own files only. */
#ifndef MMQ_STORE_LAYOUT_H
#define MMQ_STORE_LAYOUT_H

#include <dirent.h>

#include "store/store.h"

struct mmq_store {
	int root, tmp;               /* folder descriptors */
	struct mmq_disk disk;
};

enum { MMQ_LAYOUT_NUMBER_TEXT = 16 };
#define MMQ_LAYOUT_HIDDEN ".deleted-"  /* .deleted-<name>-<wall ms>: deleted then, to be removed later */

/* RESOURCE_EXHAUSTED for a full disk, NOT_FOUND for ENOENT, UNAVAILABLE otherwise, from errno. Always -1. */
int mmq_layout_fail(struct mmq_err *err, const char *step, const char *name);

int mmq_layout_check_name(const char *what, const char *name, struct mmq_err *err);

/* A folder below dir, not through a link; -1 with errno. */
int mmq_layout_folder(int dir, const char *name);
/* The same, made and made durable if absent; -1 with err. */
int mmq_layout_make_folder(const struct mmq_store *store, int dir, const char *name, struct mmq_err *err);
/* models/<tenant>/<model>/<part>; part NULL: the model's folder. With make: created as needed. NOT_FOUND. */
int mmq_layout_model(const struct mmq_store *store, const char *tenant, const char *model, const char *part, bool make, struct mmq_err *err);

/* Each entry of a folder but . and ..; visit returns -1 to stop. */
int mmq_layout_visit(int dir, int (*visit)(void *arg, int dir, const char *name, struct mmq_err *err), void *arg, struct mmq_err *err);

void mmq_layout_version(uint32_t version, char text_out[MMQ_LAYOUT_NUMBER_TEXT]);  /* "000042" */
/* The number in "<6 or more digits><ending>", 0: another name. */
uint32_t mmq_layout_number(const char *name, const char *ending);

/* A new file below dir with these bytes, 0444 and fsynced. The name must not be there. */
int mmq_layout_write_file(const struct mmq_store *store, int dir, const char *name, const void *bytes, size_t size, struct mmq_err *err);
/* A regular file with one link below dir, opened for reading; -1: NOT_FOUND, or DATA_LOSS for anything else. */
int mmq_layout_open_file(int dir, const char *name, struct mmq_err *err);
int mmq_layout_read_file(int dir, const char *name, size_t bytes_max, struct mmq_buf *out, struct mmq_err *err);
int mmq_layout_write_all(const struct mmq_store *store, int fd, const void *bytes, size_t size);   /* -1 with errno */

/* Remove a folder of plain files (and folders, three levels deep at most). Errors are passed over: the next clean tries again. */
void mmq_layout_remove(const struct mmq_store *store, int dir, const char *name);

void mmq_layout_clean_jobs(struct mmq_store *store, struct mmq_err *err);  /* checkpoint.c: those of jobs that never ended */

#endif
