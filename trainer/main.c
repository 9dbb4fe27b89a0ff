/* main.c: modelmq-trainer. BLAS is pinned before anything else: it reads its settings once, at load. */
#include "math/cpu.h"
#include "trainer/trainer.h"

int
main(int argc, char **argv)
{
	static struct mmq_trainer trainer;

	mmq_cpu_pin_blas(argv);
	return mmq_daemon_main(&mmq_trainer_daemon, &trainer, argc, argv);
}
