/* place.c: defaults that follow from the home folder. */
#include "daemon/place.h"

#include <stdlib.h>

#include "util/home.h"
#include "util/mem.h"

int
mmq_place_find(struct mmq_place *place, const char *home, const char *work, const char *store, struct mmq_err *err)
{
	*place = (struct mmq_place){ 0 };
	if (home == NULL && (work == NULL || store == NULL))
		return mmq_err_value(err, MMQ_INVALID_ARGUMENT, "home", "a folder, or both work and store", "nothing");
	place->work = work != NULL ? mmq_strdup(work) : mmq_home_endpoint(home, "work", err);
	if (place->work == NULL)
		return -1;
	if (store != NULL) {
		place->store = mmq_strdup(store);
		return 0;
	}
	place->store = mmq_home_path(home, "store");
	return 0;
}

void
mmq_place_fini(struct mmq_place *place)
{
	free(place->work);
	free(place->store);
	*place = (struct mmq_place){ 0 };
}
