// SPDX-License-Identifier: Apache-2.0
// grpc_client ADDRESS ROUNDS: unary calls with every code by libgrpc++; prints
// a line for each: method, code.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>

int main(int argc, char **argv)
{
	auto channel = grpc::CreateChannel(argv[1],
					   grpc::InsecureChannelCredentials());
	grpc::GenericStub stub(channel);
	int rounds = argc > 2 ? atoi(argv[2]) : 1;

	for (int i = 0; i < rounds * 17; i++) {
		std::string text = "{\"code\": " + std::to_string(i % 17) + "}";
		grpc::Slice slice(text);
		grpc::ByteBuffer request(&slice, 1), response;
		grpc::CompletionQueue queue;
		grpc::ClientContext context;
		grpc::Status status;
		bool ok;
		void *tag;
		auto call = stub.PrepareUnaryCall(&context, "/proof.Calls/Unary",
						  request, &queue);

		call->StartCall();
		call->Finish(&response, &status, nullptr);
		queue.Next(&tag, &ok);
		printf("/proof.Calls/Unary %d\n", (int)status.error_code());
	}
	fflush(stdout);
	getchar();
}
