/* laws.h: walking the registry, and failing with the engine's name. */
#ifndef TESTS_CONTRACT_LAWS_H
#define TESTS_CONTRACT_LAWS_H

#include "engine/engine.h"

/* Say which engine broke a law before failing. */
#define LAW(engine, task, condition)                                                                                                  \
	do {                                                                                                                          \
		if (!(condition))                                                                                                     \
			fail_msg("%s %s: %s", (engine)->name, mmq_task_name(task), #condition);                                       \
	} while (0)

/* Every engine in the registry with every task that it has. */
#define EACH(engine, task)                                                                                                            \
	for (const struct mmq_engine *const *at_ = mmq_engine_list(), *engine; (engine = *at_) != NULL; at_++)                        \
		for (enum mmq_task task = MMQ_REGRESSION; task <= MMQ_ONE_CLASS;  task = (enum mmq_task)(task * 2))                   \
			if ((engine->tasks & (unsigned)task) != 0)

#endif
