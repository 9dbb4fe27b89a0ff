/* main.c: modelmq-predictor. BLAS is pinned before anything else: it reads its settings once, at load. */
#include "math/cpu.h"
#include "predictor/predictor.h"

int
main(int argc, char **argv)
{
	static struct mmq_predictor predictor;

	mmq_cpu_pin_blas(argv);
	return mmq_daemon_main(&mmq_predictor_daemon, &predictor, argc, argv);
}
