// Package deploy has no code of its own. Its tests show that the files beside it work: they
// start what the unit, the image and the manifests start, with the same arguments, and ask it.
//
//	config.yaml        what all of them serve: credentials and TLS, since others can reach it
//	systemd/           a hardened unit; redis.conf to be dropped in, for several machines as one
//	docker/            an image from scratch; compose-redis.yaml runs three of it
//	kubernetes/        a pod with its state on a volume
//	kubernetes-redis/  three pods that share a Redis
//	redis/             what such a Redis needs
package deploy
