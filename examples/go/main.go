// A Go program for a container: counts its starts in a file of a volume, and serves its arguments, a variable of its
// environment and that count over HTTP, on the socket of the container's declared port.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// The first declared port's listening socket. Go cannot open one here: WASI 0.1 has no such call.
const firstPort = 4

func main() {
	log.SetFlags(0)
	starts, err := countStarts("/data/starts")
	if err != nil {
		log.Fatal(err)
	}

	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		log.Print(request.Method, " ", request.URL.Path)
		fmt.Fprintf(answer, "Hello from %s on %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
		fmt.Fprintf(answer, "arguments %q, GREETING %q, start %d\n", os.Args[1:], os.Getenv("GREETING"), starts)
	})

	// All goroutines share one thread: a call that waits would hold up all of them.
	if err := syscall.SetNonblock(firstPort, true); err != nil {
		log.Fatal(err)
	}
	listener, err := net.FileListener(os.NewFile(firstPort, "http"))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, nil))
}

// countStarts adds one to the number in the file, which need not exist yet, and returns it.
func countStarts(path string) (int, error) {
	starts := 0
	if text, err := os.ReadFile(path); err == nil {
		if starts, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return 0, err
		}
	} else if !os.IsNotExist(err) {
		return 0, err
	}
	starts++
	return starts, os.WriteFile(path, []byte(strconv.Itoa(starts)+"\n"), 0o644)
}
