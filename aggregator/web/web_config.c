/* SPDX-License-Identifier: Apache-2.0 */
#include "aggregator/web/web_config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "common/files.h"

#define USERS_MAX 1024

struct reader {
	yaml_document_t doc;
	const char *path;
	char *why;
	size_t why_size;
	struct web_config *c;
};

static int refuse(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct reader *r, const yaml_mark_t *at, const char *fmt, ...)
{
	char reason[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	snprintf(r->why, r->why_size, "%s: line %zu, column %zu: %s", r->path,
		 at->line + 1, at->column + 1, reason);
	return -EINVAL;
}

static yaml_node_t *node(struct reader *r, int id)
{
	return yaml_document_get_node(&r->doc, id);
}

static const char *text(const yaml_node_t *n)
{
	return (const char *)n->data.scalar.value;
}

static int want_scalar(struct reader *r, const yaml_node_t *key,
		       const yaml_node_t *value)
{
	if (key->type != YAML_SCALAR_NODE)
		return refuse(r, &key->start_mark, "a key must be text");
	if (value->type != YAML_SCALAR_NODE)
		return refuse(r, &value->start_mark, "%s must be text",
			      text(key));
	if (strlen(text(value)) != value->data.scalar.length)
		return refuse(r, &value->start_mark, "%s contains a NUL byte",
			      text(key));
	return 0;
}

/* Sets *to to path, taken relative to the folder of the configuration file. */
static int set_path(struct reader *r, char **to, const char *path)
{
	const char *slash = strrchr(r->path, '/');
	int dir = slash && *path != '/' ? (int)(slash - r->path + 1) : 0;

	free(*to);
	if (asprintf(to, "%.*s%s", dir, r->path, path) < 0) {
		*to = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int set_client_auth(struct reader *r, const yaml_node_t *value)
{
	static const char *const name[] = {
		[WEB_CLIENT_NONE] = "NoClientCert",
		[WEB_CLIENT_REQUEST] = "RequestClientCert",
		[WEB_CLIENT_ANY] = "RequireAnyClientCert",
		[WEB_CLIENT_VERIFY_IF_GIVEN] = "VerifyClientCertIfGiven",
		[WEB_CLIENT_VERIFY] = "RequireAndVerifyClientCert",
	};

	for (unsigned i = 0; i < sizeof(name) / sizeof(name[0]); i++)
		if (!strcmp(text(value), name[i])) {
			r->c->client_auth = (enum web_client_auth)i;
			return 0;
		}
	return refuse(r, &value->start_mark, "unknown client_auth_type \"%s\"",
		      text(value));
}

static int set_min_version(struct reader *r, const yaml_node_t *value)
{
	if (strcmp(text(value), "TLS12") && strcmp(text(value), "TLS13"))
		return refuse(r, &value->start_mark,
			      "min_version must be TLS12 or TLS13");
	r->c->tls13_only = !strcmp(text(value), "TLS13");
	return 0;
}

static int set_tls(struct reader *r, const yaml_node_t *key,
		   const yaml_node_t *value)
{
	struct web_config *c = r->c;
	int err = want_scalar(r, key, value);

	if (err)
		return err;
	if (!strcmp(text(key), "cert_file"))
		return set_path(r, &c->cert_file, text(value));
	if (!strcmp(text(key), "key_file"))
		return set_path(r, &c->key_file, text(value));
	if (!strcmp(text(key), "client_ca_file"))
		return set_path(r, &c->client_ca_file, text(value));
	if (!strcmp(text(key), "client_auth_type"))
		return set_client_auth(r, value);
	if (!strcmp(text(key), "min_version"))
		return set_min_version(r, value);
	return refuse(r, &key->start_mark,
		      "unknown key \"%s\" in tls_server_config", text(key));
}

static int add_user(struct reader *r, const yaml_node_t *key,
		    const yaml_node_t *value)
{
	struct web_config *c = r->c;
	struct web_user *grown;
	const char *hash;
	int err = want_scalar(r, key, value);

	if (err)
		return err;
	hash = text(value);
	if (strlen(hash) != 60 || hash[0] != '$' || hash[1] != '2' ||
	    !strchr("aby", hash[2]) || hash[3] != '$')
		return refuse(r, &value->start_mark,
			      "the password of \"%s\" is not a bcrypt hash",
			      text(key));
	if (strchr(text(key), ':'))
		return refuse(r, &key->start_mark,
			      "a user name must not contain a colon");
	for (size_t i = 0; i < c->n_users; i++)
		if (!strcmp(c->users[i].name, text(key)))
			return refuse(r, &key->start_mark,
				      "user \"%s\" appears twice", text(key));
	if (c->n_users == USERS_MAX)
		return refuse(r, &key->start_mark, "more than %d users",
			      USERS_MAX);
	grown = realloc(c->users, (c->n_users + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->users = grown;
	c->users[c->n_users] =
		(struct web_user){ strdup(text(key)), strdup(hash) };
	c->n_users++;
	return c->users[c->n_users - 1].name && c->users[c->n_users - 1].hash
		       ? 0
		       : -ENOMEM;
}

typedef int entry_fn(struct reader *r, const yaml_node_t *key,
		     const yaml_node_t *value);

static int each(struct reader *r, const yaml_node_t *map, const char *what,
		entry_fn *fn)
{
	const yaml_node_pair_t *p;
	int err = 0;

	/*
	 * A key without a value, like "basic_auth_users:", has an empty scalar.
	 */
	if (map->type == YAML_SCALAR_NODE && !*text(map))
		return 0;
	if (map->type != YAML_MAPPING_NODE)
		return refuse(r, &map->start_mark, "%s must be a mapping",
			      what);
	for (p = map->data.mapping.pairs.start;
	     !err && p < map->data.mapping.pairs.top; p++)
		err = fn(r, node(r, p->key), node(r, p->value));
	return err;
}

static int set_top(struct reader *r, const yaml_node_t *key,
		   const yaml_node_t *value)
{
	int err;

	if (key->type != YAML_SCALAR_NODE)
		return refuse(r, &key->start_mark, "a key must be text");
	if (!strcmp(text(key), "basic_auth_users"))
		return each(r, value, text(key), add_user);
	if (strcmp(text(key), "tls_server_config"))
		return refuse(r, &key->start_mark, "unknown key \"%s\"",
			      text(key));
	err = each(r, value, text(key), set_tls);
	if (err)
		return err;
	r->c->tls = value->type == YAML_MAPPING_NODE;
	if (r->c->tls && (!r->c->cert_file || !r->c->key_file))
		return refuse(r, &value->start_mark,
			      "tls_server_config needs cert_file and key_file");
	if (r->c->tls && r->c->client_auth >= WEB_CLIENT_VERIFY_IF_GIVEN &&
	    !r->c->client_ca_file)
		return refuse(r, &value->start_mark,
			      "client_auth_type needs client_ca_file");
	if (r->c->tls && r->c->client_ca_file &&
	    r->c->client_auth == WEB_CLIENT_NONE)
		return refuse(r, &value->start_mark,
			      "client_ca_file needs a client_auth_type");
	if (r->c->cert_file && access(r->c->cert_file, R_OK))
		return refuse(r, &value->start_mark, "cannot read %s: %s",
			      r->c->cert_file, strerror(errno));
	if (r->c->key_file && access(r->c->key_file, R_OK))
		return refuse(r, &value->start_mark, "cannot read %s: %s",
			      r->c->key_file, strerror(errno));
	if (r->c->key_file)
		files_check_secret(r->c->key_file);
	return 0;
}

static int parse_document(struct reader *r, FILE *f)
{
	yaml_parser_t parser;
	yaml_node_t *root;
	int err = 0;

	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_input_file(&parser, f);
	if (!yaml_parser_load(&parser, &r->doc)) {
		err = refuse(r, &parser.problem_mark, "%s",
			     parser.problem ? parser.problem : "not YAML");
		goto cleanup;
	}
	root = yaml_document_get_root_node(&r->doc);
	if (root)
		err = each(r, root, "the file", set_top);
	yaml_document_delete(&r->doc);
cleanup:
	yaml_parser_delete(&parser);
	return err;
}

int web_config_load(struct web_config **out, const char *path, char *why,
		    size_t why_size)
{
	struct reader r = { .path = path, .why = why, .why_size = why_size };
	FILE *f = fopen(path, "re");
	int err;

	if (!f) {
		err = -errno;
		snprintf(why, why_size, "%s: %s", path, strerror(-err));
		return err;
	}
	r.c = calloc(1, sizeof(*r.c));
	err = r.c ? parse_document(&r, f) : -ENOMEM;
	if (err == -ENOMEM)
		snprintf(why, why_size, "%s: out of memory", path);
	fclose(f);
	if (err) {
		web_config_free(r.c);
		return err;
	}
	*out = r.c;
	return 0;
}

void web_config_free(struct web_config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_users; i++) {
		free(c->users[i].name);
		free(c->users[i].hash);
	}
	free(c->users);
	free(c->cert_file);
	free(c->key_file);
	free(c->client_ca_file);
	free(c);
}
