/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_tls.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define CHAIN_MAX 16

/* Global, as retrieve() gets no argument that could carry it. */
static const struct web_config *config;

void web_tls_init(const struct web_config *c)
{
	config = c;
}

static int load_key(gnutls_privkey_t *out)
{
	gnutls_datum_t data;
	int err = gnutls_load_file(config->key_file, &data);

	if (err)
		return err;
	err = gnutls_privkey_init(out);
	if (!err) {
		err = gnutls_privkey_import_x509_raw(
			*out, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
		if (err)
			gnutls_privkey_deinit(*out);
	}
	gnutls_memset(data.data, 0, data.size);
	gnutls_free(data.data);
	return err;
}

static int load_chain(gnutls_pcert_st **out, unsigned *n)
{
	gnutls_pcert_st *chain;
	gnutls_datum_t data;
	int err = gnutls_load_file(config->cert_file, &data);

	if (err)
		return err;
	*n = CHAIN_MAX;
	/* GnuTLS releases it by gnutls_free(). */
	chain = gnutls_calloc(CHAIN_MAX, sizeof(*chain));
	err = chain ? gnutls_pcert_list_import_x509_raw(chain, n, &data,
							GNUTLS_X509_FMT_PEM, 0)
		    : GNUTLS_E_MEMORY_ERROR;
	gnutls_free(data.data);
	if (err) {
		gnutls_free(chain);
		return err;
	}
	*out = chain;
	return 0;
}

static int retrieve(gnutls_session_t session,
		    const struct gnutls_cert_retr_st *info,
		    gnutls_pcert_st **certs, unsigned *n_certs,
		    gnutls_ocsp_data_st **ocsp, unsigned *n_ocsp,
		    gnutls_privkey_t *key, unsigned *flags)
{
	int err;

	(void)session;
	(void)info;
	err = load_key(key);
	if (err) {
		log_error("cannot load key file=%s error=\"%s\"",
			  config->key_file, gnutls_strerror(err));
		return -1;
	}
	err = load_chain(certs, n_certs);
	if (err) {
		log_error("cannot load certificate file=%s error=\"%s\"",
			  config->cert_file, gnutls_strerror(err));
		gnutls_privkey_deinit(*key);
		return -1;
	}
	*ocsp = NULL;
	*n_ocsp = 0;
	*flags = GNUTLS_CERT_RETR_DEINIT_ALL;
	return 0;
}

void *web_tls_retrieve(void)
{
	return (void *)retrieve;
}

const char *web_tls_priorities(const struct web_config *c)
{
	return c->tls13_only ? "NORMAL:-VERS-ALL:+VERS-TLS1.3"
			     : "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
}

int web_tls_check_peer(const struct web_config *c, void *session)
{
	unsigned status = 0, n = 0;

	if (c->client_auth <= WEB_CLIENT_REQUEST)
		return 0;
	if (!session)
		return -EACCES;
	gnutls_certificate_get_peers(session, &n);
	if (!n)
		return c->client_auth == WEB_CLIENT_VERIFY_IF_GIVEN ? 0
								    : -EACCES;
	if (c->client_auth == WEB_CLIENT_ANY)
		return 0;
	if (gnutls_certificate_verify_peers2(session, &status) || status)
		return -EACCES;
	return 0;
}

char *web_tls_read(const char *path)
{
	gnutls_datum_t data;
	char *copy;

	if (gnutls_load_file(path, &data))
		return NULL;
	copy = strndup((char *)data.data, data.size);
	gnutls_free(data.data);
	return copy;
}
