// SPDX-License-Identifier: Apache-2.0
//
// validate.mjs FOLDER < objects.json: checks each Kubernetes object of a JSON
// array against the schema of its kind, from the npm packages below FOLDER. Prints
// a line for each that is wrong; status 1 if any is.
import { readFileSync, readdirSync, existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const modules = join(process.argv[2], "node_modules");
const homes = ["kubernetes-models", "@kubernetes-models/prometheus-operator",
	"@kubernetes-models/cert-manager"];

async function schemaOf(object) {
	const [group, version] = object.apiVersion.includes("/")
		? object.apiVersion.split("/") : ["", object.apiVersion];
	for (const home of homes)
		for (const folder of [join(group, version), version,
			join(group.split(".")[0], version)]) {
			const file = join(modules, home, folder, object.kind + ".js");
			const other = file.replace(/\.js$/, ".mjs");
			for (const f of [other, file])
				if (existsSync(f))
					return (await import(pathToFileURL(f)))[object.kind];
		}
	return null;
}

let bad = 0;
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
	const name = `${object.kind} ${object.metadata && object.metadata.name}`;
	const Kind = await schemaOf(object);
	if (!Kind) {
		console.log(`${name}: no schema of ${object.apiVersion}`);
		bad = 1;
		continue;
	}
	try {
		new Kind(object).validate();
	} catch (e) {
		console.log(`${name}: ${e.message}`);
		bad = 1;
	}
}
process.exit(bad);
