/* registry.c: the list of engines. A new engine adds its extern and its row here, nothing else. */
#include <string.h>

#include "engine/engine.h"

extern const struct mmq_engine mmq_engine_linear;
extern const struct mmq_engine mmq_engine_mlp;
extern const struct mmq_engine mmq_engine_svm;
extern const struct mmq_engine mmq_engine_tree;

static const struct mmq_engine *const engines[] = {
	&mmq_engine_linear,
	&mmq_engine_mlp,
	&mmq_engine_svm,
	&mmq_engine_tree,
	NULL,
};

const struct mmq_engine *const *
mmq_engine_list(void)
{
	return engines;
}

const struct mmq_engine *
mmq_engine_find(const char *name)
{
	for (const struct mmq_engine *const *engine = engines; *engine != NULL; engine++)
		if (strcmp((*engine)->name, name) == 0)
			return *engine;
	return NULL;
}

const char *
mmq_task_name(enum mmq_task task)
{
	return task == MMQ_REGRESSION ? "regression" : task == MMQ_BINARY ? "binary" : task == MMQ_MULTICLASS ? "multiclass" :
	    task == MMQ_ONE_CLASS ? "one_class" : "none";
}
