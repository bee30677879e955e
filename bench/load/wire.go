package main

import (
	"encoding/binary"
	"errors"
)

// The few fields of the discovery protocol a client needs to answer, read and written by hand: what is measured is the
// server, so the client does not decode the resources' bodies. Field numbers:
// envoy/service/discovery/v3/discovery.proto.

var errTruncated = errors.New("truncated protobuf message")

// response is what a client looks at in a response. Its slices point into the message.
type response struct {
	// Of all resources; what the next State of the World request has to repeat.
	version        []byte
	typeURL, nonce []byte
}

// parseResponse reads a DiscoveryResponse or a DeltaDiscoveryResponse: the fields used have the same numbers in both.
func parseResponse(message []byte) (response, error) {
	var found response
	err := eachField(message, func(number uint64, value []byte) error {
		switch number {
		case 1:
			found.version = value
		case 4:
			found.typeURL = value
		case 5:
			found.nonce = value
		}
		return nil
	})
	return found, err
}

// eachResource tells name and version of the resources of a DeltaDiscoveryResponse.
func eachResource(message []byte, tell func(name, version string)) error {
	return eachField(message, func(number uint64, resource []byte) error {
		if number != 2 {
			return nil
		}
		var name, version string
		err := eachField(resource, func(number uint64, value []byte) error {
			switch number {
			case 1:
				version = string(value)
			case 3:
				name = string(value)
			}
			return nil
		})
		tell(name, version)
		return err
	})
}

// eachField calls back with every length-delimited field and skips the others.
func eachField(message []byte, tell func(number uint64, value []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return errTruncated
		}
		message = message[n:]
		size, delimited := uint64(0), false
		switch tag & 7 {
		case 0:
			_, n := binary.Uvarint(message)
			if n <= 0 {
				return errTruncated
			}
			size = uint64(n)
		case 1:
			size = 8
		case 2:
			length, n := binary.Uvarint(message)
			if n <= 0 {
				return errTruncated
			}
			message, size, delimited = message[n:], length, true
		case 5:
			size = 4
		default:
			return errors.New("unknown protobuf wire type")
		}
		if size > uint64(len(message)) {
			return errTruncated
		}
		if delimited {
			if err := tell(tag>>3, message[:size]); err != nil {
				return err
			}
		}
		message = message[size:]
	}
	return nil
}

// request is what a client says.
type request struct {
	sotw                bool
	nodeID, nodeCluster string
	typeURL             string
	// Delta: those to add. State of the World: all.
	names []string
	// Delta: what a reconnecting client holds.
	held map[string]string
	// State of the World: what was accepted.
	version []byte
	nonce   []byte
}

// appendTo writes the request as one gRPC message: a zero byte (not compressed), its length, itself.
func (r request) appendTo(data []byte) []byte {
	start := len(data)
	data = append(data, 0, 0, 0, 0, 0)
	var node []byte
	if r.nodeID != "" {
		node = appendBytes(appendBytes(nil, 1, r.nodeID), 2, r.nodeCluster)
	}
	if r.sotw {
		data = r.appendSotw(data, node)
	} else {
		data = r.appendDelta(data, node)
	}
	binary.BigEndian.PutUint32(data[start+1:], uint32(len(data)-start-5))
	return data
}

func (r request) appendDelta(data, node []byte) []byte {
	data = appendIfAny(data, 1, node)
	data = appendBytes(data, 2, r.typeURL)
	for _, name := range r.names {
		data = appendBytes(data, 3, name)
	}
	for name, version := range r.held {
		data = appendBytes(data, 5, appendBytes(appendBytes(nil, 1, name), 2, version))
	}
	return appendIfAny(data, 6, r.nonce)
}

func (r request) appendSotw(data, node []byte) []byte {
	data = appendIfAny(data, 1, r.version)
	data = appendIfAny(data, 2, node)
	for _, name := range r.names {
		data = appendBytes(data, 3, name)
	}
	data = appendBytes(data, 4, r.typeURL)
	return appendIfAny(data, 5, r.nonce)
}

func appendIfAny(data []byte, number uint64, value []byte) []byte {
	if len(value) == 0 {
		return data
	}
	return appendBytes(data, number, value)
}

func appendBytes[T string | []byte](data []byte, number uint64, value T) []byte {
	data = binary.AppendUvarint(data, number<<3|2)
	data = binary.AppendUvarint(data, uint64(len(value)))
	return append(data, value...)
}
