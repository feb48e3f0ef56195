/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGGREGATOR_WEB_WEB_CONFIG_H
#define AGGREGATOR_WEB_WEB_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The file of --web.config.file, in the format of Prometheus' exporter-toolkit:
 *
 *	tls_server_config:
 *	  cert_file: server.crt      # relative to this file's folder
 *	  key_file: server.key
 *	  client_auth_type: RequireAndVerifyClientCert
 *	  client_ca_file: ca.crt
 *	  min_version: TLS12
 *	basic_auth_users:
 *	  alice: $2y$10$…            # bcrypt
 *
 * All other keys are refused, with line and column. Parsed with libyaml, as the
 * fixed schemas of libcyaml cannot have user names for keys. Immutable.
 */

enum web_client_auth {
	WEB_CLIENT_NONE, /* NoClientCert */
	WEB_CLIENT_REQUEST, /* RequestClientCert */
	WEB_CLIENT_ANY, /* RequireAnyClientCert */
	WEB_CLIENT_VERIFY_IF_GIVEN, /* VerifyClientCertIfGiven */
	WEB_CLIENT_VERIFY, /* RequireAndVerifyClientCert */
};

struct web_user {
	char *name, *hash;
};

struct web_config {
	bool tls, tls13_only;
	char *cert_file, *key_file, *client_ca_file;
	enum web_client_auth client_auth;
	struct web_user *users;
	size_t n_users;
};

/*
 * Sets *out, released by web_config_free(). On error why[] has the reason.
 * -EINVAL: wrong, with file, line and column. -ENOMEM. Else the error of
 * opening the file.
 */
int web_config_load(struct web_config **out, const char *path, char *why,
		    size_t why_size);
void web_config_free(struct web_config *c); /* NULL is fine */

#endif /* AGGREGATOR_WEB_WEB_CONFIG_H */
