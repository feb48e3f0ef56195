/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/identity/workload.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* No vowels, and nothing that looks like one (k8s.io/apimachinery, rand). */
#define SAFE "bcdfghjklmnpqrstvwxz2456789"
/* What the decimal digits 0 to 9 become, modulo 27. */
#define HASH_DIGITS "456789bcdf"
#define RANDOM_LEN 5
#define HASH_MAX_LEN 10
#define CRON_LEN 8
#define MINUTES_OF_2020 26297280

/* The length of what is before the last dash, if all behind it is of set. */
static size_t before_dash(const char *name, size_t len, const char *set,
			  size_t min, size_t max)
{
	size_t n = 0;

	while (n < len && memchr(set, name[len - 1 - n], strlen(set)))
		n++;
	if (n < min || n > max || len < n + 2 || name[len - 1 - n] != '-')
		return 0;
	return len - n - 1;
}

/* Does name end with "-HASH", a number of 32 bits without leading zeros? */
static size_t before_hash(const char *name, size_t len)
{
	size_t n = before_dash(name, len, HASH_DIGITS, 8, HASH_MAX_LEN);
	uint64_t value = 0;

	if (!n || name[n + 1] == HASH_DIGITS[0])
		return 0;
	for (size_t i = n + 1; i < len; i++)
		value = value * 10 +
			(uint64_t)(strchr(HASH_DIGITS, name[i]) - HASH_DIGITS);
	return value <= UINT32_MAX ? n : 0;
}

static size_t before_minutes(const char *name, size_t len, int64_t now_s)
{
	size_t n = before_dash(name, len, "0123456789", CRON_LEN, CRON_LEN);
	int64_t minutes = 0;

	if (!n)
		return 0;
	for (size_t i = n + 1; i < len; i++)
		minutes = minutes * 10 + name[i] - '0';
	return minutes >= MINUTES_OF_2020 && minutes <= now_s / 60 + 24 * 60
		       ? n
		       : 0;
}

static size_t before_text(const char *name, size_t len, const char *text)
{
	size_t n = text ? strlen(text) : 0;

	if (!n || len < n + 2 || name[len - n - 1] != '-' ||
	    memcmp(name + len - n, text, n) != 0)
		return 0;
	return len - n - 1;
}

static const char *write_name(char *out, const char *name, size_t len,
			      const char *kind)
{
	snprintf(out, WORKLOAD_NAME_LEN + 1, "%.*s", (int)len, name);
	return kind;
}

static const char *of_job(const char *job, int64_t now_s, char *out)
{
	size_t len = strlen(job), n = before_minutes(job, len, now_s);

	return n ? write_name(out, job, n, "CronJob")
		 : write_name(out, job, len, "Job");
}

const char *workload_of(const struct workload_pod *pod,
			char name[WORKLOAD_NAME_LEN + 1])
{
	const char *s = pod->name;
	size_t len = strlen(s), n, m;

	if (pod->job)
		return of_job(pod->job, pod->now_s, name);
	n = before_dash(s, len, SAFE, RANDOM_LEN, RANDOM_LEN);
	if (n) {
		m = before_text(s, n, pod->template_hash);
		if (!m && !pod->template_hash)
			m = before_hash(s, n);
		if (m)
			return write_name(name, s, m, "Deployment");
		m = before_minutes(s, n, pod->now_s);
		if (m)
			return write_name(name, s, m, "CronJob");
		return write_name(name, s, n, "DaemonSet, ReplicaSet or Job");
	}
	n = before_text(s, len, pod->node);
	if (n)
		return write_name(name, s, n, "static pod");
	n = before_dash(s, len, "0123456789", 1, 4);
	if (n && (s[n + 1] != '0' || len == n + 2))
		return write_name(name, s, n, "StatefulSet");
	return write_name(name, s, len, "pod");
}
