package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// step is one type in the order a client asks for them.
type step struct {
	TypeURL string   `json:"type_url"`
	Names   []string `json:"names"`
}

// fleet is any number of streams to one server.
type fleet struct {
	address     string
	nodeCluster string
	sotw        bool
	headers     []byte
	steps       []step
	// Type URL, name, version: what reconnecting streams say they hold. Nil if they are new.
	held map[string]map[string]string

	streams []*stream
	closing atomic.Bool
	running sync.WaitGroup

	ready    atomic.Int64
	acks     atomic.Int64
	lastAck  atomic.Int64
	bytes    atomic.Int64
	progress chan struct{}

	mutex    sync.Mutex
	versions map[string]int
	// What the first stream was sent, as that of all.
	received map[string]map[string]string
	failure  error
}

func newFleet(told command) *fleet {
	path := deltaPath
	if told.Sotw {
		path = sotwPath
	}
	return &fleet{
		address: told.Address, nodeCluster: told.NodeCluster, sotw: told.Sotw,
		headers: headers(told.Address, path), steps: told.Steps,
		progress: make(chan struct{}, 1), versions: map[string]int{}, received: map[string]map[string]string{},
	}
}

func (f *fleet) stepOf(typeURL []byte) int {
	return slices.IndexFunc(f.steps, func(s step) bool { return s.TypeURL == string(typeURL) })
}

func (f *fleet) request(at, number int) request {
	typeURL := f.steps[at].TypeURL
	asked := request{sotw: f.sotw, typeURL: typeURL, names: f.steps[at].Names, held: f.held[typeURL]}
	if at == 0 {
		// As Envoy does, the node is told in the first request alone.
		asked.nodeID, asked.nodeCluster = fmt.Sprintf("load-%d", number), f.nodeCluster
	}
	return asked
}

func (f *fleet) acknowledgement(at int, got response) request {
	ack := request{sotw: f.sotw, typeURL: f.steps[at].TypeURL, nonce: got.nonce}
	if f.sotw {
		ack.version, ack.names = got.version, f.steps[at].Names
	}
	return ack
}

// connect opens streams, so many at a time, and waits until all have been served and have acknowledged every type.
func (f *fleet) connect(count, atOnce int, stalled bool, patience time.Duration) error {
	target := f.ready.Load() + int64(count)
	gate := make(chan struct{}, atOnce)
	for range count {
		s := &stream{fleet: f, number: len(f.streams), stalled: stalled}
		f.streams = append(f.streams, s)
		gate <- struct{}{}
		f.running.Add(1)
		go func() {
			defer f.running.Done()
			err := s.open()
			<-gate
			if err == nil {
				err = s.run()
			}
			if err != nil && !f.closing.Load() {
				f.fail(fmt.Errorf("stream %d: %w", s.number, err))
			}
		}()
	}
	return f.await(func() bool { return f.ready.Load() >= target }, patience)
}

// await returns when the condition holds; it is looked at after every acknowledgement that may have made it so.
func (f *fleet) await(reached func() bool, patience time.Duration) error {
	deadline := time.After(patience)
	for !reached() {
		if err := f.failed(); err != nil {
			return err
		}
		select {
		case <-f.progress:
		case <-deadline:
			return fmt.Errorf("not done after %s: %d ready, %d acknowledged", patience, f.ready.Load(), f.acks.Load())
		}
	}
	return f.failed()
}

// acknowledged counts an acknowledgement that the kernel has taken. That of the last type is the one that is waited for.
func (f *fleet) acknowledged(s *stream, at int, got response, message []byte, ready bool) error {
	now := monotonic()
	f.bytes.Add(int64(len(message)))
	if s.number == 0 && !f.sotw {
		if err := f.remember(f.steps[at].TypeURL, message); err != nil {
			return err
		}
	}
	acks := int64(-1)
	if at == len(f.steps)-1 {
		for {
			before := f.lastAck.Load()
			if before >= now || f.lastAck.CompareAndSwap(before, now) {
				break
			}
		}
		f.mutex.Lock()
		f.versions[string(got.version)]++
		f.mutex.Unlock()
		acks = f.acks.Add(1)
	}
	if ready {
		f.ready.Add(1)
	}
	if ready || acks >= int64(len(f.streams)) {
		f.wake()
	}
	return nil
}

func (f *fleet) remember(typeURL string, message []byte) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	of := f.received[typeURL]
	if of == nil {
		of = map[string]string{}
		f.received[typeURL] = of
	}
	return eachResource(message, func(name, version string) { of[name] = version })
}

func (f *fleet) wake() {
	select {
	case f.progress <- struct{}{}:
	default:
	}
}

func (f *fleet) fail(err error) {
	f.mutex.Lock()
	if f.failure == nil {
		f.failure = err
	}
	f.mutex.Unlock()
	f.wake()
}

func (f *fleet) failed() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.failure
}

// arm forgets what was counted.
func (f *fleet) arm() {
	f.mutex.Lock()
	f.versions = map[string]int{}
	f.mutex.Unlock()
	f.acks.Store(0)
	f.bytes.Store(0)
	f.lastAck.Store(0)
}

func (f *fleet) disconnect() {
	f.closing.Store(true)
	for _, s := range f.streams {
		s.close()
	}
	f.running.Wait()
}

// again is a fleet of as many streams that have yet to connect; they hold what those of this one do.
func (f *fleet) again() *fleet {
	held := map[string]map[string]string{}
	for typeURL, versions := range f.received {
		held[typeURL] = maps.Clone(versions)
	}
	return &fleet{
		address: f.address, nodeCluster: f.nodeCluster, sotw: f.sotw, headers: f.headers, steps: f.steps,
		held: held, received: f.received,
		progress: make(chan struct{}, 1), versions: map[string]int{},
	}
}
