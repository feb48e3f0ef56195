// SPDX-License-Identifier: Apache-2.0
// Client URL N: Java's own HttpClient, which asks for the upgrade to h2c; prints
// the version and the status of each answer.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

class Client {
	public static void main(String[] args) throws Exception {
		HttpClient client = HttpClient.newHttpClient();
		HttpRequest request = HttpRequest.newBuilder(
			URI.create(args[0])).build();

		for (int i = 0; i < Integer.parseInt(args[1]); i++) {
			var answer = client.send(request, BodyHandlers.ofString());

			System.out.println(answer.version() + " "
				+ answer.statusCode());
		}
		System.in.read();
	}
}
