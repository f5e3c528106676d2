"""Engine.IO 4: what Socket.IO stands on. A reader begins at `server`."""
