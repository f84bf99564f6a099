"""gRPC: server, services, remote components and transports; nothing else imports grpc."""
