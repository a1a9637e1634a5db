package main

func Example() {
	main()
	// Output:
	// The state of the host's circuit before each request, and what comes of the request:
	//    closed: the host answers 200 OK
	// The host goes down. Five failures in a row open its circuit.
	//    closed: the host answers 503 Service Unavailable
	//    closed: the host answers 503 Service Unavailable
	//    closed: the host answers 503 Service Unavailable
	//    closed: the host answers 503 Service Unavailable
	//    closed: the host answers 503 Service Unavailable
	//      open: refused, nothing was sent
	// The host recovers. After 2s the circuit is half-open: the next request is a probe.
	// half_open: the host answers 200 OK
	// The probe succeeded. The circuit is closed again.
	//    closed: the host answers 200 OK
}
