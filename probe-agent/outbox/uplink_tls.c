/* SPDX-License-Identifier: Apache-2.0 */
#include "probe-agent/outbox/uplink_tls.h"

#include <errno.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/transport/tls/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"

#define PEM_MAX 65536u

/* The host of tls+tcp://host:port, for the certificate. */
static char *url_host(const char *url)
{
	const char *start = strstr(url, "://") + 3;
	const char *end = strrchr(start, ':');
	size_t len = end ? (size_t)(end - start) : strlen(start);

	if (len >= 2 && start[0] == '[' && start[len - 1] == ']') {
		start++;
		len -= 2;
	}
	return strndup(start, len);
}

/* Reads a PEM file as a string, malloc'd. NULL: failed, and logged. */
static char *read_pem(const char *path)
{
	char *text = calloc(1, PEM_MAX + 1);
	FILE *f = text ? fopen(path, "re") : NULL;
	size_t n;

	if (!f) {
		log_error("cannot read PEM file path=%s error=\"%s\"", path,
			  strerror(errno));
		free(text);
		return NULL;
	}
	n = fread(text, 1, PEM_MAX + 1, f);
	fclose(f);
	if (n > PEM_MAX) {
		log_error("file too large for a certificate or key path=%s",
			  path);
		free(text);
		return NULL;
	}
	return text;
}

/* Reads two files, since nng's own function wants both in one. */
static int own_cert(nng_tls_config *tls, const char *cert_file,
		    const char *key_file)
{
	char *cert = read_pem(cert_file);
	char *key = cert ? read_pem(key_file) : NULL;
	int code = NNG_EINVAL;

	if (key) {
		files_check_secret(key_file);
		code = nng_tls_config_own_cert(tls, cert, key, NULL);
		explicit_bzero(key, strlen(key));
	}
	free(key);
	free(cert);
	return code;
}

int uplink_tls_use(nng_dialer dialer, const struct uplink_options *opt)
{
	nng_tls_config *tls = NULL;
	char *host = url_host(opt->url);
	const char *what = "alloc";
	int code = host ? 0 : NNG_ENOMEM;

	if (code == 0)
		code = nng_tls_config_alloc(&tls, NNG_TLS_MODE_CLIENT);
	if (code == 0) {
		what = "ca_file";
		nng_tls_config_server_name(tls, host);
		code = opt->ca_file
			       ? nng_tls_config_ca_file(tls, opt->ca_file)
			       : NNG_EINVAL; /* needed to check the server */
	}
	if (code == 0)
		code = nng_tls_config_auth_mode(tls,
						NNG_TLS_AUTH_MODE_REQUIRED);
	if (code == 0 && opt->cert_file) {
		what = "cert_file";
		code = own_cert(tls, opt->cert_file,
				opt->key_file ? opt->key_file : opt->cert_file);
	}
	if (code == 0) {
		what = "dialer";
		code = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls);
	}
	if (code == NNG_ENOTSUP)
		log_error("the nng library has no TLS url=%s", opt->url);
	else if (code != 0)
		log_error(
			"cannot set up TLS of the uplink what=%s error=\"%s\"",
			what, nng_strerror(code));
	if (tls)
		nng_tls_config_free(tls); /* the dialer has its own reference */
	free(host);
	return code;
}
