/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/expose/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"

/* Fields of /proc/self/stat after the name, counted from 0 (proc(5): 3). */
enum stat_field {
	STAT_THREADS = 17,
	STAT_START = 19, /* clock ticks since boot */
	STAT_VSIZE = 20,
	STAT_RSS = 21, /* pages */
	STAT_FIELDS = 22,
};

static int read_stat(unsigned long long *value)
{
	FILE *f = fopen("/proc/self/stat", "re");
	char line[1024], *at = NULL;

	if (!f)
		return -1;
	/* The process name may contain ')'; it ends at the last one. */
	if (fgets(line, sizeof(line), f))
		at = strrchr(line, ')');
	fclose(f);
	if (!at || strlen(at) < 4)
		return -1;
	at += 3; /* skip ") S"; the state S is field 0 */
	for (unsigned i = 1; i < STAT_FIELDS; i++) {
		int used = 0;
		long long v;

		if (sscanf(at, " %lld%n", &v, &used) != 1)
			return -1;
		value[i] = (unsigned long long)v;
		at += used;
	}
	return 0;
}

static uint64_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n > 3 ? n - 3 : 0; /* without ".", ".." and the fd of d */
}

void process_read(struct metrics_self *self)
{
	unsigned long long stat[STAT_FIELDS];
	struct rusage usage;
	struct rlimit files;

	if (!getrusage(RUSAGE_SELF, &usage))
		self->process_cpu_us = (uint64_t)(usage.ru_utime.tv_sec +
						  usage.ru_stime.tv_sec) *
					       1000000 +
				       (uint64_t)(usage.ru_utime.tv_usec +
						  usage.ru_stime.tv_usec);
	if (!getrlimit(RLIMIT_NOFILE, &files))
		self->process_max_fds = files.rlim_cur;
	self->process_open_fds = count_fds();
	if (read_stat(stat))
		return;
	self->process_threads = stat[STAT_THREADS];
	self->process_virtual_bytes = stat[STAT_VSIZE];
	self->process_resident_bytes =
		stat[STAT_RSS] * (uint64_t)sysconf(_SC_PAGESIZE);
	/* Computed once, since rounding to ticks of 10 ms would vary it. */
	if (!self->process_start_us) {
		uint64_t up_us = (clock_boot_ns() / CLOCK_NS_PER_US);
		uint64_t start_us = stat[STAT_START] * 1000000 /
				    (uint64_t)sysconf(_SC_CLK_TCK);

		self->process_start_us =
			(uint64_t)clock_real_us() - (up_us - start_us);
	}
}
