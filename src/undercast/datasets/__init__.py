"""Layouts on disk to chips; splits by place and event, never by chip."""
