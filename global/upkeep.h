#pragma once
/* What a global does of itself: hours that are over become blocks, the log shrinks behind them, snapshots are taken,
 * what is not used any more goes. Private to global/. */
struct global;

void upkeep_run(void *global); /* once a second, on the loop */
/* At the end, so that the next start need not replay what came since the last snapshot. */
void upkeep_end(struct global *global);
